import { ErrorCode } from "../protocol/error-code.ts";
import { isUuid } from "../protocol/uuid.ts";
import type { ShareKey } from "../share/records.ts";
import { clusterNodes } from "./cluster-nodes.ts";
import type { RequestContext } from "./context.ts";

const stateTopic = "__share_group_state";
const versionMin = 6;

/** Where the state of a share partition is kept; makes sure that it can be. */
export async function findShareCoordinator(
  { services, session }: RequestContext,
  name: string,
  version: number,
): Promise<{ errorCode: number; nodeId: number; host: string; port: number }> {
  const nowhere = { nodeId: -1, host: "", port: -1 };
  const key = version < versionMin ? null : parseShareKey(name);
  if (key === null) return { errorCode: ErrorCode.INVALID_REQUEST, ...nowhere };
  const { persister } = services.shares;
  const errorCode = await persister.ready(key);
  if (errorCode !== ErrorCode.NONE) return { errorCode, ...nowhere };
  const { image } = services.metadata;
  const partition = persister.partitionFor(key);
  const leader = image.topicsByName.get(stateTopic)?.partitions[partition]?.leader;
  const node = clusterNodes(image, session.listener).find(({ id }) => id === leader);
  if (node === undefined) return { errorCode: ErrorCode.COORDINATOR_NOT_AVAILABLE, ...nowhere };
  return { errorCode: ErrorCode.NONE, nodeId: node.id, host: node.host, port: node.port };
}

/** "group:topicId:partition", read from its end: a group's name may have colons. */
export function parseShareKey(name: string): ShareKey | null {
  const parts = /^(.*):([^:]+):([+-]?\d{1,10}):*$/s.exec(name);
  const [, groupId = "", topicId = "", number = ""] = parts ?? [];
  const partition = Number(number);
  const isInt = partition >= -(2 ** 31) && partition < 2 ** 31;
  if (parts === null || groupId.trim() === "" || !isUuid(topicId) || !isInt) return null;
  return { groupId, topicId, partition };
}
