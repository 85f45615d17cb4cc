/** DescribeDelegationToken, versions 1–3: every listener is plain, so it is not allowed. */
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type DescribeDelegationTokenRequest,
  type DescribeDelegationTokenResponse,
  describeDelegationTokenApi,
} from "../protocol/messages/41-describe-delegation-token.ts";
import type { ApiHandler } from "./context.ts";

export const describeDelegationTokenHandler: ApiHandler<
  DescribeDelegationTokenRequest,
  DescribeDelegationTokenResponse
> = {
  codec: describeDelegationTokenApi,
  minVersion: 1,
  maxVersion: 3,
  handle: () => failed(ErrorCode.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED),
  failure: (_request, _version, errorCode) => failed(errorCode),
};

function failed(errorCode: number): DescribeDelegationTokenResponse {
  return { errorCode, tokens: [], throttleTimeMs: 0 };
}
