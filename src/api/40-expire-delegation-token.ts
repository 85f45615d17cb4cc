/** ExpireDelegationToken, versions 1–2: every listener is plain, so it is not allowed. */
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type ExpireDelegationTokenRequest,
  type ExpireDelegationTokenResponse,
  expireDelegationTokenApi,
} from "../protocol/messages/40-expire-delegation-token.ts";
import type { ApiHandler } from "./context.ts";

export const expireDelegationTokenHandler: ApiHandler<
  ExpireDelegationTokenRequest,
  ExpireDelegationTokenResponse
> = {
  codec: expireDelegationTokenApi,
  minVersion: 1,
  maxVersion: 2,
  handle: () => failed(ErrorCode.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED),
  failure: (_request, _version, errorCode) => failed(errorCode),
};

function failed(errorCode: number): ExpireDelegationTokenResponse {
  return { errorCode, expiryTimestampMs: -1, throttleTimeMs: 0 };
}
