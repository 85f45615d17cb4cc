import { errorText } from "../lib/errors.ts";
import { type ObjectStore, StoreError } from "./object-store.ts";

/** What a remote store is tried for beyond the common operations. */
export interface RemoteOperations {
  isPutConditional(): Promise<boolean>;
  beginAndAbortUpload(key: string): Promise<void>;
  /** Bytes from which an object goes up in parts. */
  readonly partBytes: number;
}

export interface StepReport {
  readonly name: string;
  readonly ok: boolean;
  /** What was found, or what went wrong. */
  readonly text: string;
}

interface Step {
  readonly name: string;
  /** What S3 calls the permission; "" for a local store. */
  readonly permission: string;
  run(): Promise<string>;
}

/**
 * Tries every operation with two objects made for it under `prefix`, and removes them. The steps
 * behind a failed one are tried too: each names its own permission.
 */
export async function checkStore(
  store: ObjectStore,
  remote: RemoteOperations | null,
  prefix: string,
  onStep: (step: StepReport) => void,
): Promise<boolean> {
  const small = `${prefix}.chronik-check-small`;
  const large = `${prefix}.chronik-check-large`;
  const steps = [
    ...(remote === null ? [] : [conditional(remote)]),
    ...commonSteps(store, prefix, small),
    ...(remote === null ? [] : partSteps(store, remote, large)),
    ...deletionSteps(store, remote === null ? [small] : [small, large]),
  ];
  let ok = true;
  for (const step of steps) {
    const report = await tryStep(step);
    ok &&= report.ok;
    onStep(report);
  }
  return ok;
}

function conditional(remote: RemoteOperations): Step {
  return {
    name: "put if absent",
    permission: "s3:PutObject",
    async run() {
      if (await remote.isPutConditional()) return "a second put of one key is refused";
      return "a second put of one key is NOT refused: each put looks for the object first";
    },
  };
}

function commonSteps(store: ObjectStore, prefix: string, key: string): Step[] {
  const bytes = new TextEncoder().encode("0123456789");
  return [
    {
      name: "put",
      permission: "s3:PutObject",
      // What an earlier check left behind counts as put.
      run: async () => ((await store.putBytes(key, bytes)) === "stored" ? key : `${key} was there`),
    },
    {
      name: "head",
      permission: "s3:GetObject",
      async run() {
        const found = await store.head(key);
        if (found?.bytes === bytes.length) return `${found.bytes} bytes`;
        throw new StoreError("damaged", key, `has ${found?.bytes ?? "no"} bytes, not 10`);
      },
    },
    {
      name: "ranged get",
      permission: "s3:GetObject",
      async run() {
        const part = new TextDecoder().decode(await store.getRange(key, 3, 4));
        if (part === "3456") return "bytes 3-6";
        throw new StoreError("damaged", key, `gives ${JSON.stringify(part)} for bytes 3-6`);
      },
    },
    {
      name: "list",
      permission: "s3:ListBucket",
      async run() {
        const { objects } = await store.list(`${prefix}.chronik-check-`, null, 10);
        if (objects.some((one) => one.key === key)) return `${objects.length} objects`;
        throw new StoreError("damaged", key, "is not in the listing right after it was put");
      },
    },
  ];
}

function partSteps(store: ObjectStore, remote: RemoteOperations, key: string): Step[] {
  const bytes = new Uint8Array(remote.partBytes + 1).fill(7);
  return [
    {
      name: "put in parts",
      permission: "s3:PutObject",
      run: async () => `${bytes.length} bytes ${await store.putBytes(key, bytes)}`,
    },
    {
      name: "give up a put in parts",
      permission: "s3:AbortMultipartUpload",
      async run() {
        await remote.beginAndAbortUpload(key);
        return "nothing is left of it";
      },
    },
  ];
}

function deletionSteps(store: ObjectStore, keys: readonly string[]): Step[] {
  return [
    {
      name: "delete",
      permission: "s3:DeleteObject",
      async run() {
        for (const key of keys) await store.delete(key);
        return `${keys.length} objects`;
      },
    },
    {
      name: "head of what is gone",
      permission: "s3:ListBucket",
      async run() {
        for (const key of keys) {
          if ((await store.head(key)) === null) continue;
          throw new StoreError("damaged", key, "is still there after its deletion");
        }
        return "absent";
      },
    },
  ];
}

async function tryStep({ name, permission, run }: Step): Promise<StepReport> {
  try {
    return { name, ok: true, text: await run() };
  } catch (error) {
    const isDenied = error instanceof StoreError && error.kind === "denied";
    const missing = isDenied && permission !== "" ? `; it needs the permission ${permission}` : "";
    return { name, ok: false, text: `${errorText(error)}${missing}` };
  }
}
