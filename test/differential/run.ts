/**
 * Puts the same questions to Apache Kafka and to chronik and prints where the answers differ:
 *
 *   bun test/differential/run.ts KAFKA_PORT CHRONIK_PORT [CASES] [--texts]
 *
 * Both listen on 127.0.0.1, both are freshly made (one node, node id 1, no delay before the first
 * rebalance), and both are left with the topics of the run. `--texts` compares error messages too.
 * Exits with 1 when something differs that no entry of `accepted` explains.
 */
import { apiVersionsApi } from "../../src/protocol/messages/18-api-versions.ts";
import { accepted } from "./accepted.ts";
import { adminCases } from "./admin-cases.ts";
import { clientMetricsCases } from "./client-metrics-cases.ts";
import { consumerGroupCases } from "./consumer-group-cases.ts";
import { dataCases } from "./data-cases.ts";
import { fetchCases } from "./fetch-cases.ts";
import { groupCases } from "./group-cases.ts";
import { type Case, type Note, Peer } from "./peer.ts";
import { quotaCases } from "./quota-cases.ts";
import { schemaCases } from "./schema-cases.ts";
import { topicCases } from "./topic-cases.ts";

const cases: Readonly<Record<string, Case>> = {
  // First: they bring the broker's own topics into being.
  ...groupCases,
  ...consumerGroupCases,
  ...topicCases,
  ...dataCases,
  ...fetchCases,
  ...quotaCases,
  ...clientMetricsCases,
  ...adminCases,
};

async function main(args: readonly string[]): Promise<number> {
  const words = args.filter((arg) => !arg.startsWith("--"));
  const [kafkaPort, chronikPort, only = ""] = words;
  if (kafkaPort === undefined || chronikPort === undefined) {
    console.error("usage: bun test/differential/run.ts KAFKA_PORT CHRONIK_PORT [CASES] [--texts]");
    return 2;
  }
  const common = await servedByBoth(Number(kafkaPort), Number(chronikPort));
  const all = { ...cases, ...schemaCases(common) };
  const chosen = Object.entries(all).filter(([name]) => name.includes(only));
  const [kafka, chronik] = await Promise.all([
    ask(Number(kafkaPort), chosen),
    ask(Number(chronikPort), chosen),
  ]);
  return report(kafka, chronik, args.includes("--texts"));
}

/** The versions that both advertise, by API. */
async function servedByBoth(...ports: readonly number[]): Promise<Map<number, [number, number]>> {
  const common = new Map<number, [number, number]>();
  for (const [index, port] of ports.entries()) {
    const peer = new Peer(port);
    const { apiKeys } = await peer.ask(apiVersionsApi, 0, {});
    peer.close();
    const served = new Map(apiKeys.map((api) => [api.apiKey, api]));
    if (index === 0) for (const { apiKey } of apiKeys) common.set(apiKey, [0, 99]);
    for (const [key, [from, to]] of common) {
      const api = served.get(key);
      if (api === undefined) common.delete(key);
      else common.set(key, [Math.max(from, api.minVersion), Math.min(to, api.maxVersion)]);
    }
  }
  return common;
}

async function ask(port: number, chosen: readonly [string, Case][]): Promise<Note[]> {
  const notes: Note[] = [];
  for (const [name, run] of chosen) {
    const peer = new Peer(port);
    try {
      await run(peer);
    } catch (error) {
      peer.add("the case itself", { failed: error instanceof Error ? error.message : `${error}` });
    }
    peer.close();
    notes.push(...peer.notes.map((note) => ({ ...note, label: `${name}: ${note.label}` })));
  }
  return notes;
}

function report(kafka: readonly Note[], chronik: readonly Note[], texts: boolean): number {
  let differences = 0;
  let explained = 0;
  const labels = new Set([...kafka, ...chronik].map(({ label }) => label));
  for (const label of labels) {
    const theirs = kafka.find((note) => note.label === label);
    const ours = chronik.find((note) => note.label === label);
    const bodies = theirs?.body !== ours?.body;
    const messages = texts && theirs?.texts !== ours?.texts;
    if (!bodies && !messages) continue;
    if (bodies && isExplained(label, theirs?.body ?? "", ours?.body ?? "")) {
      explained += 1;
      continue;
    }
    differences += 1;
    console.log(`\n== ${label}`);
    if (bodies) show(theirs?.body ?? "(nothing)", ours?.body ?? "(nothing)");
    if (messages) show(theirs?.texts ?? "", ours?.texts ?? "");
  }
  console.log(`\n${labels.size} answers, ${differences} differ, ${explained} differ as intended`);
  return differences === 0 ? 0 : 1;
}

function isExplained(label: string, theirs: string, ours: string): boolean {
  const plain = (body: string): string => body.replaceAll(/^ *"errorMessage": .*\n/gm, "");
  return accepted.some(({ where, textsOnly }) => {
    return where.test(label) && (!textsOnly || plain(theirs) === plain(ours));
  });
}

/** Lines of either side that the other does not have. */
function show(kafka: string, chronik: string): void {
  const theirs = kafka.split("\n");
  const ours = chronik.split("\n");
  const only = (lines: readonly string[], others: readonly string[], sign: string): void => {
    const left = [...others];
    for (const line of lines) {
      const at = left.indexOf(line);
      if (at >= 0) left.splice(at, 1);
      else console.log(`  ${sign} ${line.trim()}`);
    }
  };
  only(theirs, ours, "kafka  ");
  only(ours, theirs, "chronik");
  if (theirs.toSorted().join() === ours.toSorted().join()) console.log("  (order)");
}

process.exit(await main(process.argv.slice(2)));
