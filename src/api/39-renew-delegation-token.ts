/** RenewDelegationToken, versions 1–2: every listener is plain, so it is not allowed. */
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type RenewDelegationTokenRequest,
  type RenewDelegationTokenResponse,
  renewDelegationTokenApi,
} from "../protocol/messages/39-renew-delegation-token.ts";
import type { ApiHandler } from "./context.ts";

export const renewDelegationTokenHandler: ApiHandler<
  RenewDelegationTokenRequest,
  RenewDelegationTokenResponse
> = {
  codec: renewDelegationTokenApi,
  minVersion: 1,
  maxVersion: 2,
  handle: () => failed(ErrorCode.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED),
  failure: (_request, _version, errorCode) => failed(errorCode),
};

function failed(errorCode: number): RenewDelegationTokenResponse {
  return { errorCode, expiryTimestampMs: -1, throttleTimeMs: 0 };
}
