/**
 * Puts the same questions to Apache Kafka and to chronik and prints where the answers differ:
 *
 *   bun test/differential/run.ts KAFKA_PORT CHRONIK_PORT [CASES] [--texts]
 *
 * Both listen on 127.0.0.1, both are freshly made (one node, node id 1, no delay before the first
 * rebalance, eight partitions in the offsets' and the transactions' topic), and both are left with
 * the topics of the run. `--texts` prints error messages that differ too. Exits with 1 when
 * something differs that no entry of `accepted` explains, or an entry explains nothing.
 */
import { accepted } from "./accepted.ts";
import { askBoth, everyCase } from "./ask.ts";
import { judge, type Verdict } from "./differences.ts";
import type { Note } from "./peer.ts";

async function main(args: readonly string[]): Promise<number> {
  const words = args.filter((arg) => !arg.startsWith("--"));
  const [kafkaPort, chronikPort, only = ""] = words;
  if (kafkaPort === undefined || chronikPort === undefined) {
    console.error("usage: bun test/differential/run.ts KAFKA_PORT CHRONIK_PORT [CASES] [--texts]");
    return 2;
  }
  const all = await everyCase(Number(kafkaPort), Number(chronikPort));
  const chosen = Object.entries(all).filter(([name]) => name.includes(only));
  const cases = Object.fromEntries(chosen);
  const { kafka, chronik } = await askBoth(Number(kafkaPort), Number(chronikPort), cases);
  if (args.includes("--texts")) showTexts(kafka, chronik);
  return report(judge(kafka, chronik, accepted, only === "" ? "all" : "some"));
}

function report({ answers, intended, unexplained, dead }: Verdict): number {
  for (const { label, differences } of unexplained) {
    console.log(`\n== ${label}`);
    for (const { path, kafka, chronik } of differences) {
      console.log(`  ${path}\n    kafka   ${inWords(kafka)}\n    chronik ${inWords(chronik)}`);
    }
  }
  for (const words of dead) console.log(`\n-- explains nothing: ${words}`);
  const counts = `${unexplained.length} differ, ${intended} differ as intended`;
  console.log(`\n${answers} answers, ${counts}, ${dead.length} dead explanations`);
  return unexplained.length + dead.length === 0 ? 0 : 1;
}

function inWords(value: unknown): string {
  return JSON.stringify(value);
}

function showTexts(kafka: readonly Note[], chronik: readonly Note[]): void {
  for (const [index, { label, texts }] of kafka.entries()) {
    const ours = chronik[index]?.texts;
    if (texts !== ours) console.log(`\n== ${label}\n  kafka   ${texts}\n  chronik ${ours}`);
  }
}

process.exit(await main(process.argv.slice(2)));
