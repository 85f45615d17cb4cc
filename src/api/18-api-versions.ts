/**
 * ApiVersions, versions 0–5. Answers what the table of handlers serves. v3+: the client's software
 * name and version must look like names (INVALID_REQUEST). v5: a client that expects another
 * cluster or node is told to find its cluster anew (REBOOTSTRAP_REQUIRED). A version above 5 is
 * answered in version 0 with UNSUPPORTED_VERSION, by the router.
 * v3+: the features of src/metadata/features.ts.
 */

import { featuresEpoch, finalizedFeatures, supportedFeatures } from "../metadata/features.ts";
import type { Decoded } from "../protocol/api-codec.ts";
import { ApiKey } from "../protocol/api-key.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type ApiVersionsRequest,
  type ApiVersionsResponse,
  apiVersionsApi,
} from "../protocol/messages/18-api-versions.ts";
import type { ApiHandler, RequestContext } from "./context.ts";

export interface ApiRange {
  readonly apiKey: number;
  readonly minVersion: number;
  readonly maxVersion: number;
}

const softwareName = /^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?$/;

export function apiVersionsHandler(
  ranges: () => readonly ApiRange[],
): ApiHandler<ApiVersionsRequest, ApiVersionsResponse> {
  return {
    codec: apiVersionsApi,
    minVersion: 0,
    maxVersion: 5,
    handle(context, request, version) {
      const errorCode = check(context, request, version);
      if (errorCode !== ErrorCode.NONE) return { errorCode, apiKeys: [] };
      context.session.softwareName = request.clientSoftwareName;
      context.session.softwareVersion = request.clientSoftwareVersion;
      const { image } = context.services.metadata;
      return {
        errorCode,
        apiKeys: [...ranges()],
        throttleTimeMs: 0,
        supportedFeatures: supportedFeatures(version),
        finalizedFeaturesEpoch: featuresEpoch(image),
        finalizedFeatures: finalizedFeatures(image),
      };
    },
    failure: (_request, _version, errorCode) => ({ errorCode, apiKeys: [] }),
  };
}

/** The body of the answer to a version nobody here knows. */
export function unsupportedApiVersions(ranges: readonly ApiRange[]): ApiVersionsResponse {
  return {
    errorCode: ErrorCode.UNSUPPORTED_VERSION,
    apiKeys: ranges.filter(({ apiKey }) => apiKey === ApiKey.API_VERSIONS),
  };
}

function check(
  context: RequestContext,
  request: Decoded<ApiVersionsRequest>,
  version: number,
): number {
  if (version < 3) return ErrorCode.NONE;
  const named =
    softwareName.test(request.clientSoftwareName) &&
    softwareName.test(request.clientSoftwareVersion);
  if (!named) return ErrorCode.INVALID_REQUEST;
  const { image, layers } = context.services.metadata;
  const otherCluster = request.clusterId !== null && request.clusterId !== image.clusterId;
  const otherNode = request.nodeId >= 0 && request.nodeId !== layers.nodeId;
  return otherCluster || otherNode ? ErrorCode.REBOOTSTRAP_REQUIRED : ErrorCode.NONE;
}
