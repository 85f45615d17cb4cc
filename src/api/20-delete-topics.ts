/**
 * DeleteTopics, versions 1–6. v6 takes names or ids. Answered when nobody can use the topics any
 * more; their data is removed afterwards. Topics the broker keeps for itself are refused
 * (INVALID_TOPIC_EXCEPTION): Kafka would delete them and with them every group's offsets.
 */
import type { MetadataImage } from "../metadata/image.ts";
import type { Decoded } from "../protocol/api-codec.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type DeleteTopicsRequest,
  type DeleteTopicsResponse,
  type DeleteTopicsResponseDeletableTopicResult,
  deleteTopicsApi,
} from "../protocol/messages/20-delete-topics.ts";
import { zeroUuid } from "../protocol/uuid.ts";
import type { ApiHandler } from "./context.ts";
import { namedTwice } from "./named-twice.ts";

type Result = DeleteTopicsResponseDeletableTopicResult;

/** Over controller_mutation_rate: refused from here on, before only a wait. */
const strictFrom = 5;

interface Target {
  readonly name: string | null;
  readonly topicId: string;
}

export const deleteTopicsHandler: ApiHandler<DeleteTopicsRequest, DeleteTopicsResponse> = {
  codec: deleteTopicsApi,
  minVersion: 1,
  maxVersion: 6,
  async handle(context, request, version) {
    const { config, metadata } = context.services;
    const targets = targetsOf(request);
    if (request.timeoutMs < 0 && targets.some((target) => !namesBoth(target))) {
      const timedOut = ErrorCode.REQUEST_TIMED_OUT;
      return answer(targets.map((target) => failed(target, timedOut, null)));
    }
    if (!config.topic.deleteEnabled) {
      const errorCode = version < 3 ? ErrorCode.INVALID_REQUEST : ErrorCode.TOPIC_DELETION_DISABLED;
      return answer(
        targets.map((target) => failed(target, errorCode, "Topic deletion is disabled.")),
      );
    }
    const { results, topics } = resolve(metadata.image, targets);
    const quota = context.services.quotas.mutations(context.client, version >= strictFrom);
    const outcomes = await metadata.deleteTopics([...topics.keys()], quota.admit);
    context.throttle(quota.throttleMs());
    for (const [index, [id, target]] of [...topics].entries()) {
      const outcome = outcomes[index];
      if (outcome !== undefined) results.push({ ...target, topicId: id, ...outcome });
    }
    return answer(results);
  },
  failure: (request, _version, errorCode, message) =>
    answer(targetsOf(request).map((target) => failed(target, errorCode, message))),
};

function answer(responses: Result[]): DeleteTopicsResponse {
  return { throttleTimeMs: 0, responses };
}

function targetsOf(request: Decoded<DeleteTopicsRequest>): Target[] {
  const named = request.topicNames.map((name) => ({ name, topicId: zeroUuid }));
  return [...named, ...request.topics];
}

function failed(target: Target, errorCode: number, errorMessage: string | null): Result {
  return { name: target.name, topicId: target.topicId, errorCode, errorMessage };
}

function namesBoth({ name, topicId }: Target): boolean {
  return name !== null && topicId !== zeroUuid;
}

/** What can be answered at once, and the topics to delete, by id. */
function resolve(
  image: MetadataImage,
  targets: readonly Target[],
): { results: Result[]; topics: Map<string, { name: string }> } {
  const results: Result[] = [];
  const topics = new Map<string, { name: string }>();
  const both = targets.filter(namesBoth);
  for (const target of both) {
    const text = "You may not specify both topic name and topic id.";
    results.push(failed(target, ErrorCode.INVALID_REQUEST, text));
  }
  const sound = targets.filter((target) => !both.includes(target));
  const twiceNamed = namedTwice(sound.flatMap(({ name }) => (name === null ? [] : [name])));
  const byId = targets.filter(({ name }) => name === null).map(({ topicId }) => topicId);
  const twiceById = namedTwice(byId.filter((topicId) => topicId !== zeroUuid));
  for (const name of twiceNamed) {
    const target = { name, topicId: zeroUuid };
    results.push(failed(target, ErrorCode.INVALID_REQUEST, "Duplicate topic name."));
  }
  for (const topicId of twiceById) {
    results.push(failed({ name: null, topicId }, ErrorCode.INVALID_REQUEST, "Duplicate topic id."));
  }
  for (const target of sound) {
    if (target.name === null ? twiceById.has(target.topicId) : twiceNamed.has(target.name))
      continue;
    const found = find(image, target);
    if ("errorCode" in found) {
      results.push(found);
    } else if (topics.has(found.id)) {
      topics.delete(found.id);
      const text = "The provided topic name maps to an ID that was already supplied.";
      const known = { name: found.name, topicId: target.topicId };
      results.push(failed(known, ErrorCode.INVALID_REQUEST, text));
    } else {
      topics.set(found.id, { name: found.name });
    }
  }
  return { results, topics };
}

const neitherText = "Neither topic name nor id were specified.";

function find(image: MetadataImage, target: Target): { id: string; name: string } | Result {
  const { name, topicId } = target;
  if (name === null && topicId === zeroUuid) {
    return failed(target, ErrorCode.INVALID_REQUEST, neitherText);
  }
  const topic = name === null ? image.topicsById.get(topicId) : image.topicsByName.get(name);
  if (topic?.internal) {
    const text = `${topic.name} belongs to the broker and cannot be deleted.`;
    return failed(target, ErrorCode.INVALID_TOPIC_EXCEPTION, text);
  }
  if (topic !== undefined) return topic;
  return name === null
    ? failed(target, ErrorCode.UNKNOWN_TOPIC_ID, "This server does not host this topic ID.")
    : failed(
        target,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        "This server does not host this topic-partition.",
      );
}
