import type { ConfigAlteration, ConfigOperation, Outcome } from "../metadata/requests.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import type { RequestContext } from "./context.ts";
import { namedTwice } from "./named-twice.ts";

/** Kafka's numbers for what a config belongs to. */
export const ConfigResource = {
  TOPIC: 2,
  BROKER: 4,
  BROKER_LOGGER: 8,
  CLIENT_METRICS: 16,
  GROUP: 32,
} as const;

/** One resource of an AlterConfigs or IncrementalAlterConfigs request. */
export interface AlteredResource {
  readonly resourceType: number;
  readonly resourceName: string;
  readonly configs: readonly {
    readonly name: string;
    readonly value: string | null;
    readonly configOperation: number;
  }[];
}

export interface AlteredResult {
  readonly errorCode: number;
  readonly errorMessage: string | null;
  readonly resourceType: number;
  readonly resourceName: string;
}

/** AlterConfigOp's numbers. */
const kinds: readonly ConfigOperation["kind"][] = ["set", "delete", "append", "subtract"];

/** Alters every resource that is well-formed; one result per resource, in request order. */
export async function alterResources(
  context: RequestContext,
  resources: readonly AlteredResource[],
  options: { readonly replacesAll: boolean; readonly validateOnly: boolean },
): Promise<AlteredResult[]> {
  const keyOf = (resource: AlteredResource): string => {
    return `${resource.resourceType} ${resource.resourceName}`;
  };
  const { metadata } = context.services;
  const twice = namedTwice(resources.map(keyOf));
  const planned = resources.map((resource) => {
    if (twice.has(keyOf(resource))) return invalid("Each resource must appear at most once.");
    if (resource.resourceType === ConfigResource.BROKER_LOGGER && !options.replacesAll) {
      return refuseLoggers(resource, metadata.layers.nodeId);
    }
    return alterationOf(resource, options.replacesAll);
  });
  const alterations = planned.filter((plan): plan is ConfigAlteration => !("errorCode" in plan));
  const outcomes = await metadata.alterConfigs(alterations, options.validateOnly);
  return resources.map(({ resourceType, resourceName }, index) => {
    const plan = planned[index];
    const outcome = plan && "errorCode" in plan ? plan : outcomes.shift();
    return { resourceType, resourceName, ...(outcome ?? invalid("The resource was not altered.")) };
  });
}

/** What can be altered, by its number. */
const altered: ReadonlyMap<number, ConfigAlteration["resource"]> = new Map([
  [ConfigResource.TOPIC, "topic"],
  [ConfigResource.BROKER, "broker"],
  [ConfigResource.GROUP, "group"],
  [ConfigResource.CLIENT_METRICS, "client-metrics"],
]);

function alterationOf(asked: AlteredResource, replacesAll: boolean): ConfigAlteration | Outcome {
  const { resourceType, resourceName, configs } = asked;
  const resource = altered.get(resourceType);
  if (resource === undefined) {
    return invalid(`Unknown resource type ${resourceType}`);
  }
  if (namedTwice(configs.map(({ name }) => name)).size > 0) {
    return invalid("Error due to duplicate config keys");
  }
  const operations: ConfigOperation[] = [];
  const nulls: string[] = [];
  for (const { name, value, configOperation } of configs) {
    const kind = kinds[configOperation];
    if (kind === undefined) return invalid(`Unknown config operation ${configOperation}`);
    if (value === null && kind !== "delete") nulls.push(name);
    operations.push({ name, kind, value });
  }
  if (nulls.length > 0) return invalid(`Null value not supported for : ${nulls.join(", ")}`);
  return {
    resource,
    name: resourceName,
    operations,
    replacesAll,
  };
}

/** A broker has no loggers whose level could be set; in the order of Kafka's checks. */
function refuseLoggers({ resourceName, configs }: AlteredResource, nodeId: number): Outcome {
  if (!/^[+-]?\d{1,10}$/.test(resourceName)) {
    return invalid(`Node id must be an integer, but it is: ${resourceName}`);
  }
  if (resourceName !== String(nodeId)) {
    return invalid(`Unexpected node id. Expected ${nodeId}, but received ${resourceName}`);
  }
  for (const { name, configOperation } of configs) {
    const kind = kinds[configOperation];
    if (kind === "append" || kind === "subtract") {
      const verb = kind.toUpperCase();
      return invalid(`${verb} operation is not allowed for the BROKER_LOGGER resource`);
    }
    const errorMessage = `Logger ${name} does not exist!`;
    return { errorCode: ErrorCode.INVALID_CONFIG, errorMessage };
  }
  return { errorCode: ErrorCode.NONE, errorMessage: null };
}

function invalid(errorMessage: string): Outcome {
  return { errorCode: ErrorCode.INVALID_REQUEST, errorMessage };
}
