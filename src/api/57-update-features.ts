/**
 * UpdateFeatures, versions 0–2: the levels in src/metadata/features.ts. All updates or none; v1+
 * can validate only. What cannot be served, or would lose metadata, fails with
 * INVALID_UPDATE_VERSION. v0–1 repeat the outcome for each feature.
 */
import { type FeatureUpdate, planFeatures } from "../metadata/feature-plan.ts";
import type { Outcome } from "../metadata/requests.ts";
import { isOutcome, success } from "../metadata/topic-plan.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type UpdateFeaturesRequest,
  type UpdateFeaturesResponse,
  updateFeaturesApi,
} from "../protocol/messages/57-update-features.ts";
import type { ApiHandler } from "./context.ts";

export const updateFeaturesHandler: ApiHandler<UpdateFeaturesRequest, UpdateFeaturesResponse> = {
  codec: updateFeaturesApi,
  minVersion: 0,
  maxVersion: 2,
  async handle(context, request, version) {
    const { metadata } = context.services;
    const byName = new Map<string, FeatureUpdate>();
    for (const { feature: name, maxVersionLevel: level, upgradeType } of request.featureUpdates) {
      byName.set(name, { name, level, upgradeType });
    }
    const { result, outcome } = await metadata.change((image) => {
      const plan = planFeatures(image, [...byName.values()], metadata.layers.nodeId);
      if (isOutcome(plan)) return { commands: [], result: refused(plan) };
      return { commands: request.validateOnly ? [] : plan, result: success };
    });
    const answer = result.errorCode === ErrorCode.NONE ? outcome : result;
    const detailed = version <= 1 && answer.errorCode === ErrorCode.NONE;
    const updates = detailed ? request.featureUpdates : [];
    const results = updates.map(({ feature }) => ({
      feature,
      errorCode: 0,
      errorMessage: noError,
    }));
    return { throttleTimeMs: 0, ...answer, results };
  },
  failure: (_request, _version, errorCode, errorMessage) => {
    return { throttleTimeMs: 0, errorCode, errorMessage, results: [] };
  },
};

/** Kafka's text for NONE. */
const noError = "The operation completed successfully.";

function refused({ errorCode, errorMessage }: Outcome): Outcome {
  const text = "The update failed for all features since the following feature had an error: ";
  return { errorCode, errorMessage: `${text}${errorMessage}` };
}
