/**
 * DescribeAcls, versions 1–3: without an authorizer SECURITY_DISABLED, as Kafka. A filter with an
 * unknown type or operation is malformed: Kafka closes the connection.
 */
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type DescribeAclsRequest,
  type DescribeAclsResponse,
  describeAclsApi,
} from "../protocol/messages/29-describe-acls.ts";
import { checkFilter, noAuthorizer } from "./acl-form.ts";
import type { ApiHandler } from "./context.ts";

export const describeAclsHandler: ApiHandler<DescribeAclsRequest, DescribeAclsResponse> = {
  codec: describeAclsApi,
  minVersion: 1,
  maxVersion: 3,
  handle(_context, request) {
    checkFilter(request);
    return failed(ErrorCode.SECURITY_DISABLED, `${noAuthorizer} on the broker`);
  },
  failure: (_request, _version, errorCode, message) => failed(errorCode, message),
};

function failed(errorCode: number, errorMessage: string): DescribeAclsResponse {
  return { throttleTimeMs: 0, errorCode, errorMessage, resources: [] };
}
