import { AbortedBudget } from "../../src/log/aborted-budget.ts";
import type { AbortedTransaction } from "../../src/log/aborted-index.ts";
import { AbortedLog } from "../../src/log/aborted-log.ts";
import { type AbortedRun, runFile, runIdOf } from "../../src/log/aborted-run.ts";
import { crc32c } from "../../src/protocol/crc32c.ts";
import { patchBaseOffset } from "../../src/protocol/record-batch.ts";
import { buildEndTxnMarker } from "../../src/protocol/records.ts";
import { FakeClock } from "./fake-clock.ts";
import { batch } from "./log-lab.ts";
import { MemoryDisk, MemoryFiles, MemoryWal } from "./memory-wal.ts";

const dir = "/data/p";

/** Transactions of some producers in one log, most of them aborted; offsets are batches. */
export class AbortedHistory {
  readonly aborted: AbortedTransaction[] = [];
  end = 0;
  /** Of deleted batches. */
  start = 0;
  readonly batches: Uint8Array[] = [];
  private readonly open = new Map<number, number>();
  private readonly random: () => number;

  constructor(random: () => number) {
    this.random = random;
  }

  /** One batch or marker more. */
  step(producers: number): AbortedTransaction | null {
    const producerId = Math.floor(this.random() * producers);
    const firstOffset = this.open.get(producerId);
    const offset = this.end++;
    const isData = firstOffset === undefined || this.random() < 0.2;
    const result = this.random() < 0.8 ? "abort" : "commit";
    this.push(producerId, isData, result, offset);
    if (firstOffset === undefined) this.open.set(producerId, offset);
    if (isData || firstOffset === undefined) return null;
    this.open.delete(producerId);
    if (result === "commit") return null;
    const lastStableOffset = Math.min(offset + 1, ...this.open.values());
    const entry = { producerId, firstOffset, lastOffset: offset, lastStableOffset };
    this.aborted.push(entry);
    return entry;
  }

  overlapping(from: number, to: number): AbortedTransaction[] {
    return this.aborted.filter((one) => one.lastOffset >= from && one.firstOffset < to);
  }

  private push(id: number, isData: boolean, result: "abort" | "commit", offset: number): void {
    const producer = { producerId: id, producerEpoch: 0 };
    const marker = { ...producer, result, coordinatorEpoch: 0, timestamp: 1 };
    const bytes = isData
      ? batch({ ...producer, baseSequence: 0, isTransactional: true })
      : buildEndTxnMarker(marker, crc32c);
    patchBaseOffset(bytes, 0, offset);
    this.batches.push(bytes);
  }
}

/** The index of one such log over memory, with its checkpoints. */
export class AbortedLab {
  readonly disk = new MemoryDisk();
  readonly files = new MemoryFiles(this.disk);
  readonly clock = new FakeClock();
  readonly history: AbortedHistory;
  readonly rebuilt: string[] = [];
  /** Of files that could be neither read nor made again. */
  readonly failures: unknown[] = [];
  wal = new MemoryWal();
  bytesRead = 0;
  log: AbortedLog;
  private readonly spillMin: number;
  private readonly budget: AbortedBudget;
  private stored: { aborted: AbortedTransaction[]; runs: AbortedRun[]; markers: number } = {
    aborted: [],
    runs: [],
    markers: 0,
  };

  constructor(
    history: AbortedHistory,
    spillMin: number,
    budget: AbortedBudget = new AbortedBudget(1_000_000),
  ) {
    this.history = history;
    this.spillMin = spillMin;
    this.budget = budget;
    const readFile = this.files.readFile.bind(this.files);
    this.files.readFile = async (path, position, length) => {
      const bytes = await readFile(path, position, length);
      this.bytesRead += bytes.length;
      return bytes;
    };
    this.log = this.create();
  }

  get paths(): string[] {
    return [...this.disk.files.keys()].filter((path) => path.startsWith(`${dir}/aborted-`));
  }

  /** What is in memory goes; the last checkpoint, and the markers behind it, stay. */
  async restart(): Promise<void> {
    await this.log.close();
    const named = new Set(this.stored.runs.map(({ id }) => `${dir}/${runFile(id)}`));
    for (const path of this.paths) if (!named.has(path)) this.disk.files.delete(path);
    this.log = this.create();
    this.log.add(this.history.aborted.slice(this.stored.markers));
  }

  async checkpoint(): Promise<void> {
    const needed = this.history.start;
    const capture = this.log.capture(needed);
    const markers = this.history.aborted.length;
    const runs = capture.runs.map((run) => ({ ...run }));
    this.stored = { aborted: [...capture.aborted], runs, markers };
    await this.log.settle(capture, needed);
  }

  grow(steps: number, producers: number): void {
    for (let n = 0; n < steps; n++) {
      const aborted = this.history.step(producers);
      if (aborted !== null) this.log.add([aborted]);
    }
  }

  private create(): AbortedLog {
    const wal = new MemoryWal();
    this.wal = wal;
    const { history } = this;
    wal.read = (_log, offset, offsetLimit) => {
      const end = Math.min(offset + 1_000, offsetLimit, history.end);
      const bytes = Buffer.concat(history.batches.slice(offset, end));
      return Promise.resolve({ bytes, nextOffset: Math.max(offset, end) });
    };
    const ids = this.paths.map((path) => runIdOf(path.slice(dir.length + 1)) ?? -1);
    return new AbortedLog(
      {
        dir,
        owner: { topicId: new Uint8Array(16).fill(1), partition: 2 },
        files: this.files,
        clock: this.clock,
        log: { wal, log: 1, start: () => history.start },
        budget: this.budget,
        memoryMax: 100_000,
        spillMin: this.spillMin,
        rebuilt: (file) => this.rebuilt.push(file),
        notRebuilt: (_file, error) => this.failures.push(error),
      },
      this.stored.aborted,
      this.stored.runs,
      Math.max(-1, ...ids) + 1,
    );
  }
}
