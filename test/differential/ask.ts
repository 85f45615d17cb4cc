import { apiVersionsApi } from "../../src/protocol/messages/18-api-versions.ts";
import { adminCases } from "./admin-cases.ts";
import { clientMetricsCases } from "./client-metrics-cases.ts";
import { consumerGroupCases } from "./consumer-group-cases.ts";
import { dataCases } from "./data-cases.ts";
import { fetchCases } from "./fetch-cases.ts";
import { groupCases } from "./group-cases.ts";
import { moreGroupCases } from "./more-group-cases.ts";
import { type Case, type Note, Peer } from "./peer.ts";
import { quotaCases } from "./quota-cases.ts";
import { schemaCases } from "./schema-cases.ts";
import { shareCases } from "./share-cases.ts";
import { topicCases } from "./topic-cases.ts";
import { transactionCases } from "./transaction-cases.ts";
import { transactionOffsetCases } from "./transaction-offset-cases.ts";

/** Cases by name, in the order in which they are asked. */
export type Cases = Readonly<Record<string, Case>>;

/** What both brokers answered, by label. */
export interface Answers {
  readonly kafka: readonly Note[];
  readonly chronik: readonly Note[];
}

/** The cases of meaning: written by hand, each about one part of the protocol. */
export const meaningCases: Cases = {
  // First: they bring the broker's own topics into being.
  ...groupCases,
  ...consumerGroupCases,
  ...topicCases,
  ...dataCases,
  ...fetchCases,
  ...quotaCases,
  ...adminCases,
  ...clientMetricsCases,
  ...transactionCases,
  ...transactionOffsetCases,
  ...shareCases,
  ...moreGroupCases,
};

/**
 * Every case: those of meaning, then the sweeps over the message definitions, in a short run over
 * the newest versions only.
 */
export async function everyCase(
  kafkaPort: number,
  chronikPort: number,
  extent: "whole" | "short" = "whole",
): Promise<Cases> {
  const common = await servedByBoth(kafkaPort, chronikPort);
  return { ...meaningCases, ...schemaCases(common, extent === "short") };
}

/** Puts the cases to both at the same time, to each one after the other. */
export async function askBoth(
  kafkaPort: number,
  chronikPort: number,
  cases: Cases,
): Promise<Answers> {
  const chosen = Object.entries(cases);
  const [kafka, chronik] = await Promise.all([ask(kafkaPort, chosen), ask(chronikPort, chosen)]);
  return { kafka, chronik };
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
