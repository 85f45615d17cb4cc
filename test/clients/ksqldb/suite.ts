import { jvmClassPath, prepareJvm } from "../jvm/prepare.ts";
import { runJvm } from "../jvm/run.ts";
import type { Feature, RunTest, Suite } from "../suite.ts";

/**
 * ksqlDB is on no registry. This asks what its servers ask, in their order, by the Java client:
 * see `java/KsqlProbe.java`.
 */

const timeoutMs = 180_000;
const detailChars = 1000;

function featureOf(test: string): Feature {
  return /transactions|second server|read again/.test(test) ? "txn" : "admin";
}

export const ksqldb: Suite = {
  name: "ksqldb",
  client: "ksqlDB's calls (kafka-clients)",
  version: "4.3.1",
  kind: "program",
  about: "the admin calls of a ksqlDB server, and its transactional command topic",
  exclusions: [],
  brokerArgs: [],
  featureOf,
  prepare: () => prepareJvm({ name: "ksqldb" }),
  async run({ bootstrap }) {
    const { exit, stdout, stderr } = await runJvm(
      {
        classPath: jvmClassPath({ name: "ksqldb" }),
        mainClass: "KsqlProbe",
        args: [bootstrap],
      },
      timeoutMs,
    );
    const steps = stdout.split("\n").filter((line) => line.startsWith("{"));
    const results = steps.map((line): RunTest => {
      const { name, failure } = JSON.parse(line) as { name: string; failure: string | null };
      if (failure === null) return { name, outcome: "passed" };
      return { name, outcome: "failed", detail: failure.slice(0, detailChars) };
    });
    if (exit === 0) return results;
    const detail = `it ended with ${exit}: ${stderr.slice(-detailChars)}`;
    return [...results, { name: "the whole probe", outcome: "failed", detail }];
  },
};
