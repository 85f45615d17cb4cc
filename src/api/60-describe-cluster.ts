/**
 * DescribeCluster, versions 0–2. Brokers only: v1's endpoint type "controllers" fails with
 * MISMATCHED_ENDPOINT_TYPE. v2 can include fenced brokers; there are none.
 */
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type DescribeClusterRequest,
  type DescribeClusterResponse,
  describeClusterApi,
} from "../protocol/messages/60-describe-cluster.ts";
import { clusterOperations, operationsNotAsked } from "./authorized-operations.ts";
import { clusterNodes, controllerId } from "./cluster-nodes.ts";
import type { ApiHandler } from "./context.ts";

const brokerEndpoints = 1;
const controllerEndpoints = 2;

export const describeClusterHandler: ApiHandler<DescribeClusterRequest, DescribeClusterResponse> = {
  codec: describeClusterApi,
  minVersion: 0,
  maxVersion: 2,
  handle(context, request) {
    const { image } = context.services.metadata;
    if (request.endpointType !== brokerEndpoints) {
      return request.endpointType === controllerEndpoints
        ? failed(ErrorCode.MISMATCHED_ENDPOINT_TYPE, "This is a broker, not a controller.")
        : failed(
            ErrorCode.UNSUPPORTED_ENDPOINT_TYPE,
            `Unsupported endpoint type ${request.endpointType}`,
          );
    }
    const nodes = clusterNodes(image, context.session.listener);
    return {
      throttleTimeMs: 0,
      errorCode: ErrorCode.NONE,
      clusterId: image.clusterId,
      controllerId: controllerId(nodes),
      brokers: nodes.map(({ id, ...node }) => ({ brokerId: id, ...node })),
      clusterAuthorizedOperations: request.includeClusterAuthorizedOperations
        ? clusterOperations
        : operationsNotAsked,
    };
  },
  failure: (_request, _version, errorCode, message) => failed(errorCode, message),
};

function failed(errorCode: number, errorMessage: string): DescribeClusterResponse {
  return { throttleTimeMs: 0, errorCode, errorMessage, clusterId: "", brokers: [] };
}
