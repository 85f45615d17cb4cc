/** What an operator sees of the tiers of a running broker, and what the tiers leave behind. */
import { expect, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { TiersView } from "../../admin/view.ts";
import { busyTierArgs, untilAllArchived } from "../support/archives.ts";
import { type BrokerProcess, startBroker, until } from "../support/broker-process.ts";
import { Kafka } from "./kafka.ts";

const words = Array.from({ length: 40 }, (_, at) => `value ${at}`);

async function ask<T>(broker: BrokerProcess, path: string, method = "GET"): Promise<T> {
  const response = await fetch(`${broker.adminUrl}${path}`, { method });
  expect(response.status).toBe(200);
  return (await response.json()) as T;
}

const tiersOf = (broker: BrokerProcess) =>
  ask<TiersView>(broker, "/admin/topics/seen/partitions/0/tiers");

const typesOf = async (broker: BrokerProcess) => {
  const { events } = await ask<{ events: { type: string }[] }>(broker, "/admin/indexer/timeline");
  return events.map((event) => event.type);
};

/** A number off the metrics page, by the text before it. */
async function metric(broker: BrokerProcess, series: string): Promise<number> {
  const text = await (await fetch(`${broker.adminUrl}/metrics`)).text();
  const line = text.split("\n").find((each) => each.startsWith(`${series} `));
  if (line === undefined) throw new Error(`no ${series} on the metrics page`);
  return Number(line.slice(series.length + 1));
}

test("it is told where records are, a pause holds, and a deletion leaves nothing", async () => {
  await using broker = await startBroker({ args: busyTierArgs });
  let kafka = await Kafka.connect(broker.kafkaPort);
  await kafka.createTopic("seen");
  await kafka.append("seen", 0, words);
  await untilAllArchived(broker);
  const archived = await tiersOf(broker);
  expect(archived.wal).toMatchObject({ start_offset: null, segment_count: 0, records: 0 });
  expect(archived.object).toMatchObject({ start_offset: 0, end_offset: 40, records: 40 });
  expect(archived.cached.segment_count).toBe(0);
  expect(await typesOf(broker)).toEqual(expect.arrayContaining(["archived", "sealed"]));
  const puts = 'chronik_store_requests_total{operation="put-file",outcome="ok"}';
  expect(await metric(broker, puts)).toBeGreaterThan(0);
  expect(await metric(broker, "chronik_tier_lag_records")).toBe(0);

  // Without the tail in memory.
  await broker.stop();
  await broker.restart();
  kafka = await Kafka.connect(broker.kafkaPort);
  expect(await kafka.values("seen", 0)).toEqual(words);
  expect((await tiersOf(broker)).cached).toMatchObject({ start_offset: 0, end_offset: 40 });
  expect(await metric(broker, 'chronik_tier_reads{tier="archive"}')).toBeGreaterThan(0);

  expect(await ask(broker, "/admin/indexer/pause", "POST")).toEqual({ paused: true });
  const { totals } = await ask<{ totals: { runs: number } }>(broker, "/admin/indexer/stats");
  await kafka.append("seen", 0, words);
  await until("records have waited for more than two ticks", 20_000, async () => {
    return (await metric(broker, "chronik_tier_lag_seconds")) > 2.5;
  });
  const stats = await ask<object>(broker, "/admin/indexer/stats");
  expect(stats).toMatchObject({ paused: true, totals: { runs: totals.runs } });
  expect(await metric(broker, "chronik_indexer_paused")).toBe(1);
  expect(await metric(broker, "chronik_tier_lag_records")).toBe(40);
  expect((await tiersOf(broker)).wal).toMatchObject({ start_offset: 40, end_offset: 80 });
  expect(await ask(broker, "/admin/indexer/resume", "POST")).toEqual({ paused: false });
  await until("the indexer has caught up by itself", 20_000, async () => {
    return (await tiersOf(broker)).object.end_offset === 80;
  });

  await kafka.deleteTopic("seen");
  await until("its objects are deleted", 20_000, async () => {
    return (await metric(broker, "chronik_tier_deleted_objects")) >= 2;
  });
  expect(await metric(broker, "chronik_tier_retired_objects")).toBe(0);
  expect(await typesOf(broker)).toContain("topic-retired");
  const folder = join(broker.dataDir, "tantivy_indexes/seen/partition-0");
  expect(existsSync(folder) ? readdirSync(folder) : []).toEqual([]);
}, 90_000);
