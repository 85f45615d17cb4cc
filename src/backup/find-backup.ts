import { BrokerError } from "../lib/errors.ts";
import type { ObjectStore } from "../store/object-store.ts";
import { clusterOf, clusterPrefix, type Manifest, manifestPrefix, metaPrefix } from "./format.ts";
import { listAll, newestSequence, readManifest } from "./old-backups.ts";

const clustersMax = 1_000;

/** Clusters that left backups here, by their ids. */
export async function findClusters(store: ObjectStore): Promise<string[]> {
  const found: string[] = [];
  let after: string | null = null;
  while (found.length < clustersMax) {
    const page = await store.list(metaPrefix, after, 1);
    const key = page.objects[0]?.key;
    if (key === undefined) return found;
    const clusterId = clusterOf(key);
    if (clusterId === null) {
      after = key;
      continue;
    }
    found.push(clusterId);
    // "0" comes right behind "/": all other objects of this cluster are passed over.
    after = `${clusterPrefix(clusterId).slice(0, -1)}0`;
  }
  return found;
}

/** The cluster that is meant; rejects with CHRONIK_RESTORE where that is not clear. One that is
 * named needs no listing, which may be stale. */
export async function chooseCluster(
  store: ObjectStore,
  wanted: string | null,
  backup: number | null = null,
): Promise<string> {
  if (wanted !== null && backup !== null) return wanted;
  const clusters = await findClusters(store);
  if (wanted !== null && clusters.includes(wanted)) return wanted;
  if (wanted !== null && (await newestSequence(store, wanted, [])) > 0) return wanted;
  const [only] = clusters;
  if (wanted === null && only !== undefined && clusters.length === 1) return only;
  const list = clusters.map((id) => `\n  ${id}`).join("");
  const problem =
    only === undefined
      ? `${store.description} lists no backup; one that is there all the same is named with ` +
        "--cluster-id and --backup; if archives are there, their topics are found with " +
        "--from-manifests"
      : wanted === null
        ? `${store.description} holds backups of several clusters; name one with ` +
          `--cluster-id:${list}`
        : `${store.description} holds no backup of cluster ${wanted}, only of:${list}`;
  throw new BrokerError("CHRONIK_RESTORE", problem);
}

/** The newest complete backup, or the one with the number. */
export async function findBackup(
  store: ObjectStore,
  clusterId: string,
  number: number | null,
): Promise<Manifest> {
  const listed = await listAll(store, manifestPrefix(clusterId));
  const sequence = number ?? (await newestSequence(store, clusterId, listed));
  const head = await store.head(`${manifestPrefix(clusterId)}${fileOf(sequence)}`);
  if (head === null) {
    const there = listed.map(({ key }) => Number(/(\d{16})/.exec(key)?.[1] ?? 0)).join(", ");
    throw new BrokerError(
      "CHRONIK_RESTORE",
      `cluster ${clusterId} has no complete backup ${number === null ? "" : `${number} `}in ` +
        `${store.description}${there === "" ? "" : `; there are: ${there}`}`,
    );
  }
  const manifest = await readManifest(store, clusterId, sequence, head.bytes);
  if (manifest.sequence === sequence) return manifest;
  throw new BrokerError(
    "CHRONIK_BACKUP_DAMAGED",
    `backup ${sequence} of cluster ${clusterId} calls itself ${manifest.sequence}`,
  );
}

function fileOf(sequence: number): string {
  return `${String(sequence).padStart(16, "0")}.json.gz`;
}
