/** Client quotas as Kafka keeps them: which may be set, and which a filter names. (pure) */

import { canonicalIp } from "../lib/ip-address.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import type { Command } from "./command.ts";
import type { MetadataImage } from "./image.ts";
import type { Outcome } from "./requests.ts";

/** Type and name; null: the default of that type. Sorted by type, each type once. */
export type QuotaEntity = readonly (readonly [type: string, name: string | null])[];

export interface ClientQuota {
  readonly entity: QuotaEntity;
  readonly values: ReadonlyMap<string, number>;
}

export interface QuotaAlteration {
  /** As the client wrote it: of a type named twice the last one counts. */
  readonly entity: readonly (readonly [type: string, name: string | null])[];
  readonly operations: readonly {
    readonly key: string;
    /** null: removed. */
    readonly value: number | null;
  }[];
}

export interface QuotaFilter {
  readonly components: readonly {
    readonly entityType: string;
    /** 0: this name, 1: the default, 2: any. */
    readonly matchType: number;
    readonly match: string | null;
  }[];
  /** Entities with further types do not match. */
  readonly strict: boolean;
}

type Kind = "long" | "double" | "int";

const userAndClientKeys: Readonly<Record<string, Kind>> = {
  producer_byte_rate: "long",
  consumer_byte_rate: "long",
  request_percentage: "double",
  controller_mutation_rate: "double",
};
const ipKeys: Readonly<Record<string, Kind>> = { connection_creation_rate: "int" };
const most: Readonly<Record<Kind, number>> = {
  int: 2 ** 31 - 1,
  long: 2 ** 63,
  double: Number.MAX_VALUE,
};
const entityTypes = new Set(["user", "client-id", "ip"]);
const fractionMax = 1e-6;
const success: Outcome = { errorCode: ErrorCode.NONE, errorMessage: null };

/** Where an entity stands in the image. */
export function quotaKey(entity: QuotaEntity): string {
  return JSON.stringify(entity);
}

/** Sorted by type; of a type named twice the last one counts. */
export function quotaEntity(pairs: QuotaAlteration["entity"]): QuotaEntity {
  return [...new Map(pairs)].toSorted(([left], [right]) => (left < right ? -1 : 1));
}

/** Each entity on its own, all or nothing; one asked for twice is refused. */
export function planClientQuotas(
  image: MetadataImage,
  alterations: readonly QuotaAlteration[],
  entitiesMax: number,
): { readonly commands: Command[]; readonly outcomes: Map<string, Outcome & ClientEntity> } {
  const commands: Command[] = [];
  const outcomes = new Map<string, Outcome & ClientEntity>();
  const counts = new Map<string, number>();
  for (const { entity } of alterations) {
    const key = quotaKey(quotaEntity(entity));
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  let entities = image.clientQuotas.size;
  for (const { entity: pairs, operations } of alterations) {
    const entity = quotaEntity(pairs);
    const key = quotaKey(entity);
    if (outcomes.has(key)) continue;
    const values = image.clientQuotas.get(key)?.values ?? new Map<string, number>();
    const change =
      (counts.get(key) ?? 0) > 1
        ? "The entity is named more than once."
        : planEntity(entity, operations, values);
    if (typeof change === "string") {
      outcomes.set(key, { entity, errorCode: ErrorCode.INVALID_REQUEST, errorMessage: change });
      continue;
    }
    if (values.size === 0 && change.set.length > 0 && ++entities > entitiesMax) {
      const errorMessage = "The broker's limit of client quotas is reached.";
      outcomes.set(key, { entity, errorCode: ErrorCode.POLICY_VIOLATION, errorMessage });
      continue;
    }
    outcomes.set(key, { entity, ...success });
    if (change.set.length + change.remove.length > 0) {
      commands.push({ type: "client-quota", entity, ...change });
    }
  }
  return { commands, outcomes };
}

export interface ClientEntity {
  readonly entity: QuotaEntity;
}

/** What changes, or why it may not. */
function planEntity(
  entity: QuotaEntity,
  operations: QuotaAlteration["operations"],
  values: ReadonlyMap<string, number>,
): { set: [string, number][]; remove: string[] } | string {
  const keys = keysOf(entity);
  if (typeof keys === "string") return keys;
  const set: [string, number][] = [];
  const remove: string[] = [];
  const seen = new Set<string>();
  for (const { key, value } of operations) {
    if (seen.has(key)) return `Duplicate quota key ${key}.`;
    seen.add(key);
    if (value === null) {
      if (values.has(key)) remove.push(key);
      continue;
    }
    const why = refusal(keys, key, value);
    if (why !== null) return why;
    if (values.get(key) !== value) set.push([key, value]);
  }
  return { set, remove };
}

/** The keys that an entity may have, or what is wrong with it. */
function keysOf(entity: QuotaEntity): Readonly<Record<string, Kind>> | string {
  if (entity.length === 0) return "Invalid empty client quota entity";
  for (const [type, name] of entity) {
    if (!entityTypes.has(type)) return `Unhandled client quota entity type: ${type}`;
    if (name === "") return `Empty ${type} not supported`;
  }
  const ip = entity.find(([type]) => type === "ip");
  if (ip === undefined) return userAndClientKeys;
  if (entity.length > 1) {
    return "Invalid quota entity combination, an IP cannot be combined with a user or client id";
  }
  const [, name] = ip;
  if (name !== null && canonicalIp(name) === null) return `${name} is not a valid IP address.`;
  return ipKeys;
}

function refusal(keys: Readonly<Record<string, Kind>>, key: string, value: number): string | null {
  const kind = Object.hasOwn(keys, key) ? keys[key] : undefined;
  if (kind === undefined) return `Invalid configuration key ${key}`;
  if (!(value > 0)) return `Quota ${key} must be greater than 0`;
  if (value > most[kind]) return `Proposed value for ${key} is too large.`;
  if (kind !== "double" && value % 1 > fractionMax) return `${key} cannot be a fractional value.`;
  return null;
}

/** What a filter names, or why it cannot be answered. */
export function describeClientQuotas(
  image: MetadataImage,
  filter: QuotaFilter,
): readonly ClientQuota[] | Outcome {
  const wanted = new Map<string, string | null | undefined>();
  for (const { entityType, matchType, match } of filter.components) {
    if (entityType === "") return invalid("Invalid empty entity type.");
    if (wanted.has(entityType)) {
      return invalid(`Entity type ${entityType} cannot appear more than once in the filter.`);
    }
    if (!entityTypes.has(entityType)) {
      const errorMessage = `Unsupported entity type ${entityType}`;
      return { errorCode: ErrorCode.UNSUPPORTED_VERSION, errorMessage };
    }
    if (matchType < 0 || matchType > 2) return invalid(`Unknown match type ${matchType}`);
    if (matchType === 0 && match === null) return invalid("An exact match needs a name.");
    if (matchType !== 0 && match !== null) return invalid("This kind of match takes no name.");
    wanted.set(entityType, matchType === 0 ? match : matchType === 1 ? null : undefined);
  }
  if (wanted.has("ip") && wanted.size > 1) {
    return invalid("An IP filter cannot be combined with one of users or client ids.");
  }
  return [...image.clientQuotas.values()].filter(({ entity }) => {
    if (filter.strict && entity.length !== wanted.size) return false;
    const names = new Map(entity);
    return [...wanted].every(
      ([type, name]) => names.has(type) && (name === undefined || names.get(type) === name),
    );
  });
}

function invalid(errorMessage: string): Outcome {
  return { errorCode: ErrorCode.INVALID_REQUEST, errorMessage };
}
