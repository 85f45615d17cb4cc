/** CreateAcls, versions 1–3: without an authorizer SECURITY_DISABLED for every rule, as Kafka. */
import type { Decoded } from "../protocol/api-codec.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type CreateAclsRequest,
  type CreateAclsResponse,
  createAclsApi,
} from "../protocol/messages/30-create-acls.ts";
import { checkRule, noAuthorizer } from "./acl-form.ts";
import type { ApiHandler } from "./context.ts";

export const createAclsHandler: ApiHandler<CreateAclsRequest, CreateAclsResponse> = {
  codec: createAclsApi,
  minVersion: 1,
  maxVersion: 3,
  handle(_context, request) {
    for (const rule of request.creations) checkRule(rule);
    return failed(request, ErrorCode.SECURITY_DISABLED, `${noAuthorizer}.`);
  },
  failure: (request, _version, errorCode, message) => failed(request, errorCode, message),
};

function failed(
  request: Decoded<CreateAclsRequest>,
  errorCode: number,
  errorMessage: string,
): CreateAclsResponse {
  const results = request.creations.map(() => ({ errorCode, errorMessage }));
  return { throttleTimeMs: 0, results };
}
