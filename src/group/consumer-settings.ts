import type { StepContext } from "./group-kinds.ts";

/** What a consumer group goes by: the broker's settings, or the group's own where it has some. */
export interface ConsumerSettings {
  readonly sessionTimeoutMs: number;
  readonly heartbeatIntervalMs: number;
  readonly assignmentIntervalMs: number;
}

export function consumerSettings(groupId: string, context: StepContext): ConsumerSettings {
  const { consumer } = context.config;
  const own = context.groupConfig(groupId);
  const setting = (name: string, fallback: number, min: number, max: number): number => {
    const text = own?.get(name);
    const value = text === undefined ? Number.NaN : Number(text);
    // The broker's bounds may have been narrowed since the group's value was set.
    return Number.isInteger(value) ? Math.min(Math.max(value, min), max) : fallback;
  };
  return {
    sessionTimeoutMs: setting(
      "consumer.session.timeout.ms",
      consumer.sessionTimeoutMs,
      consumer.sessionTimeoutMsMin,
      consumer.sessionTimeoutMsMax,
    ),
    heartbeatIntervalMs: setting(
      "consumer.heartbeat.interval.ms",
      consumer.heartbeatIntervalMs,
      consumer.heartbeatIntervalMsMin,
      consumer.heartbeatIntervalMsMax,
    ),
    assignmentIntervalMs: setting(
      "consumer.assignment.interval.ms",
      consumer.assignmentIntervalMs,
      consumer.assignmentIntervalMsMin,
      consumer.assignmentIntervalMsMax,
    ),
  };
}
