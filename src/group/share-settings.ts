import type { StepContext } from "./group-kinds.ts";

/** What a share group's membership goes by. */
export interface ShareSettings {
  readonly sessionTimeoutMs: number;
  readonly heartbeatIntervalMs: number;
  readonly assignmentIntervalMs: number;
}

export interface ShareMembershipConfig {
  /** group.share.session.timeout.ms */
  readonly sessionTimeoutMs: number;
  /** group.share.heartbeat.interval.ms */
  readonly heartbeatIntervalMs: number;
  /** group.share.assignment.interval.ms */
  readonly assignmentIntervalMs: number;
  /** group.share.max.size */
  readonly groupSizeMax: number;
}

export const shareMembershipDefaults: ShareMembershipConfig = {
  sessionTimeoutMs: 45_000,
  heartbeatIntervalMs: 5_000,
  assignmentIntervalMs: 1_000,
  groupSizeMax: 200,
};

/** The `shareGroup` section of chronik's configuration, as far as it belongs here. */
export interface ShareMembershipSettings {
  readonly sessionTimeoutMs: number;
  readonly heartbeatIntervalMs: number;
  readonly assignmentIntervalMs: number;
  readonly maxSize: number;
}

export function shareMembershipFrom(settings: ShareMembershipSettings): ShareMembershipConfig {
  const { sessionTimeoutMs, heartbeatIntervalMs, assignmentIntervalMs, maxSize } = settings;
  return { sessionTimeoutMs, heartbeatIntervalMs, assignmentIntervalMs, groupSizeMax: maxSize };
}

/** The group's own settings where it has some, checked when they were set. */
export function shareSettings(
  groupId: string,
  { config, groupConfig }: StepContext,
): ShareSettings {
  const own = groupConfig(groupId);
  const setting = (name: string, otherwise: number): number => {
    const value = Number(own?.get(name) ?? Number.NaN);
    return Number.isInteger(value) && value >= 0 ? value : otherwise;
  };
  const { share } = config;
  return {
    sessionTimeoutMs: setting("share.session.timeout.ms", share.sessionTimeoutMs),
    heartbeatIntervalMs: setting("share.heartbeat.interval.ms", share.heartbeatIntervalMs),
    assignmentIntervalMs: setting("share.assignment.interval.ms", share.assignmentIntervalMs),
  };
}
