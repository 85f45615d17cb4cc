import { choice, integer, pattern } from "./config-values.ts";

const int32Max = 2 ** 31 - 1;

function milliseconds(kafka: string, value: number, min: number, doc: string) {
  return integer({ kafka: [kafka], default: value, min, max: int32Max, doc });
}

/** Settings of groups that speak the consumer protocol (KIP-848): Kafka's `group.consumer.*`. */
export const consumerGroupSettings = {
  "consumerGroup.sessionTimeoutMs": milliseconds(
    "group.consumer.session.timeout.ms",
    45_000,
    1,
    "Milliseconds without a heartbeat after which a member is out",
  ),
  "consumerGroup.minSessionTimeoutMs": milliseconds(
    "group.consumer.min.session.timeout.ms",
    45_000,
    1,
    "Shortest session timeout one group may be given",
  ),
  "consumerGroup.maxSessionTimeoutMs": milliseconds(
    "group.consumer.max.session.timeout.ms",
    60_000,
    1,
    "Longest session timeout one group may be given",
  ),
  "consumerGroup.heartbeatIntervalMs": milliseconds(
    "group.consumer.heartbeat.interval.ms",
    5_000,
    1,
    "Milliseconds between two heartbeats of a member, as it is told",
  ),
  "consumerGroup.minHeartbeatIntervalMs": milliseconds(
    "group.consumer.min.heartbeat.interval.ms",
    5_000,
    1,
    "Shortest heartbeat interval one group may be given",
  ),
  "consumerGroup.maxHeartbeatIntervalMs": milliseconds(
    "group.consumer.max.heartbeat.interval.ms",
    15_000,
    1,
    "Longest heartbeat interval one group may be given",
  ),
  "consumerGroup.assignmentIntervalMs": milliseconds(
    "group.consumer.assignment.interval.ms",
    1_000,
    0,
    "A group is assigned anew at most once in this time",
  ),
  "consumerGroup.minAssignmentIntervalMs": milliseconds(
    "group.consumer.min.assignment.interval.ms",
    0,
    0,
    "Shortest assignment interval one group may be given",
  ),
  "consumerGroup.maxAssignmentIntervalMs": milliseconds(
    "group.consumer.max.assignment.interval.ms",
    15_000,
    0,
    "Longest assignment interval one group may be given",
  ),
  "consumerGroup.maxSize": integer({
    kafka: ["group.consumer.max.size"],
    default: int32Max,
    min: 1,
    max: int32Max,
    doc: "Most members of one group",
  }),
  "consumerGroup.assignors": pattern({
    kafka: ["group.consumer.assignors"],
    default: "uniform,range",
    form: /^(?:uniform(?:, *range)?|range(?:, *uniform)?)$/,
    accepts: "uniform, range, or both with the default one first",
    doc: "Assignors members may ask for; the first is the default",
  }),
  "consumerGroup.migrationPolicy": choice({
    kafka: ["group.consumer.migration.policy"],
    values: ["bidirectional", "upgrade", "downgrade", "disabled"],
    default: "bidirectional",
    doc: "Which groups may go from the classic to the consumer protocol, or back, while they run",
  }),
  "consumerGroup.regexRefreshIntervalMs": milliseconds(
    "group.consumer.regex.refresh.interval.ms",
    600_000,
    10_000,
    "Milliseconds after which subscriptions by regular expression are looked at again",
  ),
} as const;
