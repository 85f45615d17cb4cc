import type { WireClient } from "../client/wire-client.ts";
import type { Clock } from "../lib/clock.ts";
import { BrokerError, errorText } from "../lib/errors.ts";
import type { Crc32c } from "../protocol/crc32c.ts";
import { type BenchAddress, Cluster, earliest, latest } from "./cluster.ts";
import { EndToEnd } from "./end-to-end.ts";
import { Histogram } from "./histogram.ts";
import { Ledger } from "./ledger.ts";
import { type Acknowledged, BenchProducer } from "./producer.ts";
import { BenchReader } from "./reader.ts";
import { type BenchReport, latencyOf, type Validation } from "./report.ts";
import { validate } from "./validate.ts";
import { Workload } from "./workload.ts";

export interface BenchOptions {
  readonly mode: "produce" | "consume" | "e2e";
  readonly bootstrapServers: readonly BenchAddress[];
  readonly durationSecs: number;
  /** Messages outstanding at a time. */
  readonly concurrency: number;
  readonly messageBytes: number;
  /** −1 means all. */
  readonly acks: -1 | 0 | 1;
  readonly topic: string;
  /** Partitions of the topic where it has to be created. */
  readonly partitions: number;
  /** Consume everything back and compare counts and checksums. */
  readonly validate: boolean;
}

export interface BenchDeps {
  readonly clock: Clock;
  readonly crc: Crc32c;
}

const connectionsMax = 4;
/** More than so many different errors say nothing new. */
const errorsMax = 10;

/** What the modes collect. */
class Run {
  readonly latencyUs = new Histogram();
  readonly errors: string[] = [];
  messages = 0;
  requests = 0;
  elapsedMs = 0;
  connections = 0;
  failed = false;

  readonly fail = (reason: string): void => {
    this.failed = true;
    if (this.errors.length < errorsMax && !this.errors.includes(reason)) this.errors.push(reason);
  };
}

/**
 * One benchmark against any Kafka broker. The report says whether it succeeded: any error, or a
 * base offset below 0, fails it. Rejects with BrokerError when it could not even begin.
 */
export async function runBench(options: BenchOptions, deps: BenchDeps): Promise<BenchReport> {
  const { bootstrapServers, topic } = options;
  if (options.mode === "e2e" && options.acks === 0) {
    throw new BrokerError("CHRONIK_BENCH", "end-to-end latency needs acks 1 or all");
  }
  const cluster = await Cluster.open(bootstrapServers, topic, options, deps.clock);
  const run = new Run();
  let validation: Validation | null = null;
  try {
    if (options.mode === "consume") await consume(options, deps, cluster, run);
    else validation = await produce(options, deps, cluster, run);
  } catch (error) {
    run.fail(errorText(error));
  } finally {
    cluster.close();
  }
  const secs = run.elapsedMs / 1000;
  const messagesPerSec = secs > 0 ? run.messages / secs : 0;
  return {
    mode: options.mode,
    topic,
    partitions: cluster.partitionCount,
    connections: run.connections,
    concurrency: options.concurrency,
    messageBytes: options.messageBytes,
    acks: options.acks,
    ok: !run.failed && run.messages > 0 && (validation?.ok ?? true),
    errors: run.errors,
    elapsedSecs: secs,
    messages: run.messages,
    requests: run.requests,
    messagesPerSec,
    megabytesPerSec: (messagesPerSec * options.messageBytes) / 1e6,
    latencyMs: run.latencyUs.count > 0 ? latencyOf(run.latencyUs) : null,
    validation,
  };
}

/** Produce and end-to-end: the second one frees a message's place when it was read back. */
async function produce(
  options: BenchOptions,
  deps: BenchDeps,
  cluster: Cluster,
  run: Run,
): Promise<Validation | null> {
  const { clock, crc } = deps;
  const { concurrency, messageBytes } = options;
  const starts = await cluster.offsets(latest);
  const produced = starts.map(() => new Ledger());
  const workload = new Workload({
    messageBytes,
    countMax: concurrency,
    timestampMs: clock.nowMs(),
    crc,
  });
  const connected = await cluster.connect(Math.min(connectionsMax, concurrency));
  run.connections = connected.length;
  const readers = options.mode === "e2e" ? await cluster.connect(1) : [];
  const endToEnd = new EndToEnd(
    readers.map(({ client, partitions }) => {
      const positions = new Map(partitions.map((index) => [index, starts[index] ?? 0]));
      return new BenchReader({ client, topic: cluster.topic, positions, crc: null });
    }),
    clock,
    run.fail,
  );
  const producers = connected.map(({ client, partitions }): BenchProducer => {
    const finish = ({ count, groups }: Pick<Acknowledged, "count" | "groups">): void => {
      const nowMs = clock.monotonicMs();
      for (const group of groups) {
        run.latencyUs.record((nowMs - group.readyMs) * 1000, group.count);
      }
      run.messages += count;
      producer.offer(count);
    };
    const onAcknowledged = (batch: Acknowledged): void => {
      run.requests += 1;
      const batchCrc = workload.batchCrc(batch.count);
      produced[batch.partition]?.add(batch.baseOffset, batch.count, batchCrc);
      if (options.acks === 0) {
        run.messages += batch.count;
        producer.offer(batch.count);
      } else if (options.mode === "e2e") {
        endToEnd.acknowledged(batch, finish);
      } else {
        finish(batch);
      }
    };
    const { topic, acks } = options;
    const shared = { client, partitions, topic, acks, workload, clock };
    const producer = new BenchProducer({ ...shared, onAcknowledged, onError: run.fail });
    return producer;
  });
  await drive(options, clock, run, producers, endToEnd);
  if (!options.validate) return null;
  const offsetsKnown = options.acks !== 0;
  const compared = await validate({ cluster, clock, crc, starts, produced, offsetsKnown });
  for (const error of compared.errors) run.fail(error);
  return compared.validation;
}

/** Offers the load, lets it run for the time asked for, and waits for what is under way. */
async function drive(
  options: BenchOptions,
  clock: Clock,
  run: Run,
  producers: readonly BenchProducer[],
  endToEnd: EndToEnd,
): Promise<void> {
  const startMs = clock.monotonicMs();
  endToEnd.start();
  for (const [index, producer] of producers.entries()) {
    const share = Math.floor(options.concurrency / producers.length);
    const rest = index < options.concurrency % producers.length ? 1 : 0;
    producer.offer(share + rest);
  }
  const unanswered = options.acks === 0 ? producers.map((one) => one.runUnanswered()) : [];
  await sleepUnless(clock, options.durationSecs * 1000, () => run.failed);
  await Promise.all([...producers.map((one) => one.stop()), ...unanswered]);
  await endToEnd.stop();
  run.elapsedMs = clock.monotonicMs() - startMs;
}

const pollMs = 100;

/** Ends early when the run has failed. */
async function sleepUnless(clock: Clock, ms: number, over: () => boolean): Promise<void> {
  const endMs = clock.monotonicMs() + ms;
  for (let leftMs = ms; leftMs > 0 && !over(); leftMs = endMs - clock.monotonicMs()) {
    const stepMs = Math.min(pollMs, leftMs);
    await new Promise<void>((resolve) => clock.schedule(stepMs, resolve));
  }
}

/** Reads the topic from its start, over and over, for the time asked for. */
async function consume(
  options: BenchOptions,
  deps: BenchDeps,
  cluster: Cluster,
  run: Run,
): Promise<void> {
  const { clock, crc } = deps;
  const starts = await cluster.offsets(earliest);
  const ends = await cluster.offsets(latest);
  const total = ends.reduce((sum, end, index) => sum + end - (starts[index] ?? 0), 0);
  if (total === 0) {
    throw new BrokerError("CHRONIK_BENCH", `topic ${cluster.topic} is empty: produce to it first`);
  }
  const connected = await cluster.connect(Math.min(connectionsMax, cluster.partitionCount));
  run.connections = connected.length;
  const startMs = clock.monotonicMs();
  const endMs = startMs + options.durationSecs * 1000;
  const readers = connected.map(async ({ client, partitions }, index) => {
    const own = partitions.filter((_, at) => at % connected.length === index % connected.length);
    while (clock.monotonicMs() < endMs && own.length > 0) {
      const positions = new Map(own.map((partition) => [partition, starts[partition] ?? 0]));
      await readPass(client, positions, ends, endMs, {
        topic: cluster.topic,
        clock,
        crc: options.validate ? crc : null,
        run,
      });
    }
  });
  await Promise.all(readers);
  run.elapsedMs = clock.monotonicMs() - startMs;
}

interface PassOptions {
  readonly topic: string;
  readonly clock: Clock;
  readonly crc: Crc32c | null;
  readonly run: Run;
}

/** From the first offset of some partitions to their ends, or until the time is over. */
async function readPass(
  client: WireClient,
  positions: Map<number, number>,
  ends: readonly number[],
  endMs: number,
  { topic, clock, crc, run }: PassOptions,
): Promise<void> {
  const reader = new BenchReader({ client, topic, positions, crc });
  const drop = (): void => {
    for (const [partition, position] of positions) {
      if (position >= (ends[partition] ?? 0)) positions.delete(partition);
    }
  };
  for (drop(); positions.size > 0 && clock.monotonicMs() < endMs; drop()) {
    const askedMs = clock.monotonicMs();
    const batches = await reader.read();
    run.latencyUs.record((clock.monotonicMs() - askedMs) * 1000);
    run.requests += 1;
    for (const { count } of batches) run.messages += count;
  }
}
