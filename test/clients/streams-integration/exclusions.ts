import type { Exclusion } from "../suite.ts";

/**
 * What does not run: a class by its name, or one invocation of a method (`Class.method [1] …`).
 * Classes without a cluster (TopologyTestDriver) are no part of the suite.
 */
const streamsGroups = "needs groups of the streams protocol (KIP-1071): no API of it is served yet";

const names: Readonly<Record<string, readonly string[]>> = {
  [streamsGroups]: [
    "*=streams*",
    "*rotocolEnabled=true",
    "*useNewProtocol=true",
    "RebalanceProtocolMigrationIntegrationTest",
  ],
};

/** For the runner, which leaves these out. */
export const exclusionReasons: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(names).flatMap(([reason, list]) => list.map((name) => [name, reason])),
);

export const exclusions: readonly Exclusion[] = Object.entries(exclusionReasons).map(
  ([test, reason]) => ({ test, reason }),
);

/** Whole classes of the list: they are reported as such. */
export const excludedClasses: readonly string[] = exclusions
  .map(({ test }) => test)
  .filter((test) => /^\w+$/.test(test));
