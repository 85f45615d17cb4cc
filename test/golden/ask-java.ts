/**
 * Writes test/golden/java-oracle.json: the bytes Kafka's own Java classes give for the samples of
 * test/protocol/support/sample.ts and for four record batches. Needs a JDK and the jars.
 *
 *     bun test/golden/ask-java.ts
 */
import { join } from "node:path";
import {
  clientsJar,
  coordinatorJar,
  findJar,
  loggingJar,
  shareCoordinatorJar,
  transactionJar,
} from "../../scripts/generate/jars.ts";
import { makeSample, sampleKinds } from "../protocol/support/sample.ts";
import {
  covers,
  type MessageSchema,
  messageSchemas,
  type StructValue,
  structOf,
  type Value,
  versionsOf,
} from "../protocol/support/schema.ts";

const jackson = ["core", "databind", "annotations"].map((part) => ({
  group: "com.fasterxml.jackson.core",
  artifact: `jackson-${part}`,
  version: part === "annotations" ? "2.21" : "2.21.2",
}));

/** As Kafka's converters want it: fields the version lacks must not be there. */
function toJson(schema: MessageSchema, type: string, version: number, value: Value): unknown {
  if (typeof value === "bigint") return `${value}n`;
  if (value === null || typeof value !== "object") return value;
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64");
  if (Array.isArray(value)) {
    return value.map((item) => toJson(schema, type.slice(2), version, item));
  }
  const struct = value as StructValue;
  const fields = (structOf(schema, type) ?? []).filter((field) => covers(field.versions, version));
  return Object.fromEntries(
    fields.map((field) => [
      field.name,
      toJson(schema, field.type, version, struct[field.name] ?? null),
    ]),
  );
}

function converterOf(name: string, kind: string): string {
  return kind.startsWith("coordinator")
    ? `org.apache.kafka.coordinator.${coordinatorOf(name)}.generated.${name}JsonConverter`
    : `org.apache.kafka.common.message.${name}${kind === "data" ? "" : "Data"}JsonConverter`;
}

function coordinatorOf(name: string): string {
  if (name.startsWith("TransactionLog")) return "transaction";
  return /^Share(Snapshot|Update)/.test(name) ? "share" : "group";
}

const asked = messageSchemas.flatMap((schema) =>
  versionsOf(schema).flatMap((version) =>
    sampleKinds.map((kind) => {
      const json = JSON.stringify(
        toJson(schema, schema.name, version, makeSample(schema, version, kind)),
      );
      const bare = json.replace(/"(-?\d+)n"/g, "$1");
      const line = `${converterOf(schema.name, schema.kind)}\t${version}\t${bare}`;
      return { name: schema.name, version, kind, line };
    }),
  ),
);

/** Behind the newer jar: what the coordinator's classes still want of their own version. */
const olderClientsJar = { ...clientsJar, version: coordinatorJar.version };
const coordinatorJars = [coordinatorJar, transactionJar, shareCoordinatorJar, olderClientsJar];
const jars = [clientsJar, ...coordinatorJars, loggingJar, ...jackson].map((jar) => {
  const path = findJar(jar);
  if (path === null) throw new Error(`no ${jar.artifact} ${jar.version}`);
  return path;
});
const source = join(import.meta.dir, "JavaOracle.java");
const run = Bun.spawnSync(["java", "-cp", jars.join(":"), source], {
  stdin: Buffer.from(asked.map(({ line }) => line).join("\n")),
  stderr: "pipe",
});
if (run.exitCode !== 0) throw new Error(run.stderr.toString());
const lines = run.stdout.toString().trimEnd().split("\n");

const messages: Record<string, Record<string, Record<string, string>>> = {};
for (const { name, version, kind } of asked) {
  const versions = messages[name] ?? {};
  messages[name] = versions;
  versions[version] = { ...versions[version], [kind]: lines.shift() ?? "" };
}
const batches = Object.fromEntries(lines.map((line) => line.split("\t")));
const rows = Object.entries(messages).map(
  ([name, versions]) => `${JSON.stringify(name)}: ${JSON.stringify(versions)}`,
);
const head = `"kafka": "${clientsJar.version}", "batches": ${JSON.stringify(batches)}`;
const text = `{${head}, "messages": {
${rows.join(",\n")}
}}
`;
await Bun.write(join(import.meta.dir, "java-oracle.json"), text);
console.log(
  `${asked.length} messages, ${Object.keys(batches).length} batches, ${text.length} bytes`,
);
