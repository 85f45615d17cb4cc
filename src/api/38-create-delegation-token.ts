/**
 * CreateDelegationToken, versions 1–3. Tokens are for authenticated connections; every listener is
 * plain, so DELEGATION_TOKEN_REQUEST_NOT_ALLOWED, with the principals Kafka names then.
 */
import type { Decoded } from "../protocol/api-codec.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type CreateDelegationTokenRequest,
  type CreateDelegationTokenResponse,
  createDelegationTokenApi,
} from "../protocol/messages/38-create-delegation-token.ts";
import type { ApiHandler } from "./context.ts";

const anonymous = { principalType: "User", principalName: "ANONYMOUS" };
const requester = {
  tokenRequesterPrincipalType: anonymous.principalType,
  tokenRequesterPrincipalName: anonymous.principalName,
};
const noTime = -1;

export const createDelegationTokenHandler: ApiHandler<
  CreateDelegationTokenRequest,
  CreateDelegationTokenResponse
> = {
  codec: createDelegationTokenApi,
  minVersion: 1,
  maxVersion: 3,
  handle: (_context, request, version) => {
    return failed(request, version, ErrorCode.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED);
  },
  failure: (request, version, errorCode) => failed(request, version, errorCode),
};

function failed(
  request: Decoded<CreateDelegationTokenRequest>,
  version: number,
  errorCode: number,
): CreateDelegationTokenResponse {
  const { ownerPrincipalType, ownerPrincipalName } = request;
  const owner = ownerPrincipalName
    ? { principalType: ownerPrincipalType ?? "", principalName: ownerPrincipalName }
    : anonymous;
  return {
    errorCode,
    ...owner,
    ...(version >= 3 ? requester : {}),
    issueTimestampMs: noTime,
    expiryTimestampMs: noTime,
    maxTimestampMs: noTime,
    tokenId: "",
    hmac: new Uint8Array(0),
    throttleTimeMs: 0,
  };
}
