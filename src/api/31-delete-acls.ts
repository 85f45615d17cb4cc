/** DeleteAcls, versions 1–3: without an authorizer SECURITY_DISABLED for every filter, as Kafka. */
import type { Decoded } from "../protocol/api-codec.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type DeleteAclsRequest,
  type DeleteAclsResponse,
  deleteAclsApi,
} from "../protocol/messages/31-delete-acls.ts";
import { checkFilter, noAuthorizer } from "./acl-form.ts";
import type { ApiHandler } from "./context.ts";

export const deleteAclsHandler: ApiHandler<DeleteAclsRequest, DeleteAclsResponse> = {
  codec: deleteAclsApi,
  minVersion: 1,
  maxVersion: 3,
  handle(_context, request) {
    for (const filter of request.filters) checkFilter(filter);
    return failed(request, ErrorCode.SECURITY_DISABLED, `${noAuthorizer}.`);
  },
  failure: (request, _version, errorCode, message) => failed(request, errorCode, message),
};

function failed(
  request: Decoded<DeleteAclsRequest>,
  errorCode: number,
  errorMessage: string,
): DeleteAclsResponse {
  const filterResults = request.filters.map(() => {
    return { errorCode, errorMessage, matchingAcls: [] };
  });
  return { throttleTimeMs: 0, filterResults };
}
