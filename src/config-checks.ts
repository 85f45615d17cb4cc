import type { Values } from "./config-settings.ts";
import {
  type Address,
  formatAddress,
  isLoopback,
  isWildcard,
  parseAddress,
} from "./config-values.ts";
import { BrokerError } from "./lib/errors.ts";

/** The address that clients are told to use. */
export interface Advertised {
  readonly host: string;
  /** Null: the port actually bound, where a free one was asked for. */
  readonly port: number | null;
}

/** What was advertised, or what follows from where the broker listens. */
export function deriveAdvertised({ advertisedAddr, bind }: Values): Advertised {
  const first = bind[0];
  const port = first === undefined || first.port === 0 ? null : first.port;
  if (advertisedAddr === null) {
    const local = bind.every(({ host }) => isLoopback(host));
    return { host: local ? "localhost" : (first?.host ?? "localhost"), port };
  }
  const given = parseAddress(advertisedAddr, 0);
  if (given === undefined) {
    throw new BrokerError(
      "CHRONIK_CONFIG",
      `the advertised address ${advertisedAddr} must be HOST or HOST:PORT`,
    );
  }
  return { host: given.host, port: given.port === 0 ? port : given.port };
}

interface Situation {
  readonly commandLine: readonly string[];
  readonly hostname: string;
}

/** Settings that are right each by itself and wrong together; throws CHRONIK_CONFIG. */
export function checkTogether(
  config: Values & { readonly advertised: Advertised },
  situation: Situation,
): void {
  checkAdvertised(config, situation);
  if (!isLoopback(config.adminBind.host)) {
    fail(
      `the admin API would listen on ${formatAddress(config.adminBind)}, and off this machine it ` +
        "needs TLS and a token, which this release does not have: use --admin-bind 127.0.0.1:" +
        `${config.adminBind.port}`,
    );
  }
  const taken = new Set<string>();
  for (const address of [...config.bind, config.adminBind]) {
    const written = formatAddress(address);
    if (address.port !== 0 && taken.has(written)) fail(`${written} is to be listened on twice`);
    taken.add(written);
  }
  checkWal(config);
  checkObjectStore(config);
  checkConsumerGroups(config);
  checkShareGroups(config);
  if (config.group.minSessionTimeoutMs > config.group.maxSessionTimeoutMs) {
    fail(
      `group.min_session_timeout_ms (${config.group.minSessionTimeoutMs}) must not be larger ` +
        `than group.max_session_timeout_ms (${config.group.maxSessionTimeoutMs})`,
    );
  }
}

/** Less than a few batches of common size would only ever refuse. */
const walBytesMin = 4 << 20;

function checkWal({ wal }: Values): void {
  if (wal.maxBytes === 0 || wal.maxBytes >= walBytesMin) return;
  fail(`wal.max_bytes is ${wal.maxBytes} and must be 0 (no cap) or at least ${walBytesMin}`);
}

/** Credentials come in pairs, and the endpoint is a plain URL. */
function checkObjectStore({ objectStore }: Values): void {
  const { endpoint, accessKey, secretKey, sessionToken } = objectStore;
  const url = endpoint === null ? null : URL.parse(endpoint);
  if (url !== null && (url.username !== "" || url.search !== "" || url.hash !== "")) {
    fail("object_store.endpoint must be a URL of scheme, host, port and path alone");
  }
  if (endpoint !== null && (url === null || !/^https?:$/.test(url.protocol))) {
    fail(`object_store.endpoint is ${JSON.stringify(endpoint)} and must be a URL: https://HOST`);
  }
  if ((accessKey === null) !== (secretKey === null)) {
    fail("object_store.access_key and object_store.secret_key must be given both or neither");
  }
  if (sessionToken !== null && secretKey === null) {
    fail("object_store.session_token needs object_store.access_key and object_store.secret_key");
  }
}

/** Each value must lie between its bounds, and heartbeats must fit into a session. */
function checkConsumerGroups({ consumerGroup }: Values): void {
  const check = (name: string, min: number, value: number, max: number): void => {
    if (min <= value && value <= max) return;
    fail(`consumer_group.${name} (${value}) must lie between its bounds, ${min} and ${max}`);
  };
  const { heartbeatIntervalMs, sessionTimeoutMs, assignmentIntervalMs } = consumerGroup;
  const { minSessionTimeoutMs, maxSessionTimeoutMs } = consumerGroup;
  const { minHeartbeatIntervalMs, maxHeartbeatIntervalMs } = consumerGroup;
  const { minAssignmentIntervalMs, maxAssignmentIntervalMs } = consumerGroup;
  check("session_timeout_ms", minSessionTimeoutMs, sessionTimeoutMs, maxSessionTimeoutMs);
  check(
    "heartbeat_interval_ms",
    minHeartbeatIntervalMs,
    heartbeatIntervalMs,
    maxHeartbeatIntervalMs,
  );
  check(
    "assignment_interval_ms",
    minAssignmentIntervalMs,
    assignmentIntervalMs,
    maxAssignmentIntervalMs,
  );
  if (heartbeatIntervalMs >= sessionTimeoutMs) {
    fail(
      `consumer_group.heartbeat_interval_ms (${heartbeatIntervalMs}) must be smaller than ` +
        `consumer_group.session_timeout_ms (${sessionTimeoutMs})`,
    );
  }
}

/** Each value must lie between its bounds, and heartbeats must fit into a session. */
function checkShareGroups({ shareGroup }: Values): void {
  const check = (name: string, min: number, value: number, max: number): void => {
    if (min <= value && value <= max) return;
    fail(`share_group.${name} (${value}) must lie between its bounds, ${min} and ${max}`);
  };
  const { sessionTimeoutMs, minSessionTimeoutMs, maxSessionTimeoutMs } = shareGroup;
  check("session_timeout_ms", minSessionTimeoutMs, sessionTimeoutMs, maxSessionTimeoutMs);
  const { heartbeatIntervalMs, minHeartbeatIntervalMs, maxHeartbeatIntervalMs } = shareGroup;
  const heartbeat = "heartbeat_interval_ms";
  check(heartbeat, minHeartbeatIntervalMs, heartbeatIntervalMs, maxHeartbeatIntervalMs);
  const { assignmentIntervalMs, minAssignmentIntervalMs, maxAssignmentIntervalMs } = shareGroup;
  const assignment = "assignment_interval_ms";
  check(assignment, minAssignmentIntervalMs, assignmentIntervalMs, maxAssignmentIntervalMs);
  const { recordLockDurationMs, minRecordLockDurationMs, maxRecordLockDurationMs } = shareGroup;
  const lock = "record_lock_duration_ms";
  check(lock, minRecordLockDurationMs, recordLockDurationMs, maxRecordLockDurationMs);
  const { deliveryCountLimit, minDeliveryCountLimit, maxDeliveryCountLimit } = shareGroup;
  check("delivery_count_limit", minDeliveryCountLimit, deliveryCountLimit, maxDeliveryCountLimit);
  const { partitionMaxRecordLocks, minPartitionMaxRecordLocks } = shareGroup;
  const locksMax = shareGroup.maxPartitionMaxRecordLocks;
  const locks = "partition_max_record_locks";
  check(locks, minPartitionMaxRecordLocks, partitionMaxRecordLocks, locksMax);
  if (heartbeatIntervalMs < sessionTimeoutMs) return;
  fail(
    `share_group.${heartbeat} (${heartbeatIntervalMs}) must be smaller than ` +
      `share_group.session_timeout_ms (${sessionTimeoutMs})`,
  );
}

/** A client cannot connect to `0.0.0.0`: listening everywhere needs a name to be reached by. */
function checkAdvertised(
  { bind, advertised }: Values & { readonly advertised: Advertised },
  { commandLine, hostname }: Situation,
): void {
  if (!isWildcard(advertised.host)) return;
  const everywhere = bind.find(({ host }) => isWildcard(host));
  const reason =
    everywhere === undefined
      ? `clients cannot connect to the advertised address ${advertised.host}`
      : `listening on ${formatAddress(everywhere)} needs an address that clients can reach`;
  const port = advertised.port ?? 9092;
  fail(`${reason}: ${correctedCommand(commandLine, { host: hostname, port })}`);
}

/** The command as typed with `--advertised-addr` put in or put right. */
export function correctedCommand(typed: readonly string[], address: Address): string {
  const flag = "--advertised-addr";
  const [program = "chronik", ...rest] = typed;
  const kept: string[] = [];
  for (let at = 0; at < rest.length; at += 1) {
    const argument = rest[at] ?? "";
    if (argument === flag) at += 1;
    else if (!argument.startsWith(`${flag}=`)) kept.push(argument);
  }
  return [program, flag, formatAddress(address), ...kept].map(quote).join(" ");
}

function quote(argument: string): string {
  return /^[\w@%+=:,./[\]-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", "'\\''")}'`;
}

function fail(message: string): never {
  throw new BrokerError("CHRONIK_CONFIG", message);
}
