import { type Pointer, toArrayBuffer } from "bun:ffi";
import type { Socket } from "bun";
import { assert } from "../lib/assert.ts";
import type { Clock, Timer } from "../lib/clock.ts";
import type { BrokerError } from "../lib/errors.ts";
import { batchInfoBytes, completionBytes, completionHasResult, status } from "./abi.ts";
import { CommandBuffer } from "./command-buffer.ts";
import type { NativeLibrary, NativeSymbols } from "./library.ts";
import { NativeError } from "./native-error.ts";

/** Sizes of the engine, 1:1 with chronik_open's JSON (design D3, D15). */
export interface EngineConfig {
  /** Absolute; created by the engine, locked exclusively. */
  readonly dataDir: string;
  readonly committerThreads: number;
  readonly workerThreads: number;
  readonly queueBytesMax: number;
  readonly queueAppendsMax: number;
  readonly completionsMax: number;
  readonly segmentBytesMax: number;
  readonly filesOpenMax: number;
  readonly commitWaitUs: number;
  readonly watchdogSeconds: number;
}

/** Told when a submitted command is done, in the order the engine reports it. */
export interface CompletionSink {
  /** `result` is owned by the sink; null when the command has none. */
  completed(code: number, value0: number, value1: number, result: Uint8Array | null): void;
}

export interface AppendDone {
  readonly segmentId: number;
  readonly position: number;
}

export interface ReadDone {
  /** Whole batches back to back. */
  readonly bytes: Uint8Array;
  readonly nextOffset: number;
  readonly batchCount: number;
}

/** What chronik_check found; `code` is a status, the rest is valid for OK only. */
export interface BatchCheck {
  readonly code: number;
  readonly flags: number;
  readonly maxTimestamp: number;
  readonly recordCount: number;
}

/** The fd must see `reap` within the watchdog's time; this is also how a lost bell is noticed. */
const heartbeatMs = 250;
/** A buffer is closed at this size so that one submit fits the engine's queue. */
const submitBytesMax = 1 << 20;
const submitCommandsMax = 1024;
const reapCompletions = 1024;
const bufferBytes = 1 << 18;
const buffersIdleMax = 4;
/** From here on bytes go from one side to the other as they are: fresh memory for a copy costs the
 * loop a millisecond a MiB. */
const handedBytesMin = 64 << 10;

const noBytes = new Uint8Array(0);
const utf8 = new TextEncoder();

/**
 * The engine behind the boundary: commands of one tick go in with one submit, the doorbell says
 * when to reap, sinks are told in order. What the engine cannot take (BUSY) waits here, bounded,
 * and goes in at the next completion. One instance per process, used from the event loop only.
 */
export class NativeEngine {
  private readonly symbols: NativeSymbols;
  private readonly handle: bigint;
  private readonly clock: Clock;
  private readonly backlogBytesMax: number;
  /** A token is an index of this table; freed when the command's completion was handled. */
  private readonly sinks: (CompletionSink | null)[] = [];
  private readonly slotsFree: number[] = [];
  private inFlight = 0;
  private current = new CommandBuffer(bufferBytes);
  private readonly backlog: CommandBuffer[] = [];
  private backlogBytes = 0;
  private readonly buffersIdle: CommandBuffer[] = [];
  private flushScheduled = false;
  private readonly completions = Buffer.allocUnsafeSlow(reapCompletions * completionBytes);
  private readonly completionsView = new DataView(this.completions.buffer);
  private readonly used = new BigUint64Array(1);
  /** A result's first byte and its owner. */
  private readonly parts = new BigUint64Array(2);
  private readonly releaser: Pointer;
  /** Kept for jobs in flight, by token. */
  private readonly lent = new Map<number, Uint8Array>();
  private readonly info = new Uint8Array(batchInfoBytes);
  private readonly infoView = new DataView(this.info.buffer);
  private heartbeat: Timer | null = null;
  private doorbell: Socket<undefined> | null = null;
  private state: "open" | "closing" | "closed" = "open";
  private idle: (() => void) | null = null;

  private constructor(library: NativeLibrary, handle: bigint, config: EngineConfig, clock: Clock) {
    this.symbols = library.symbols;
    this.releaser = pointer(library.symbols.chronik_releaser());
    this.handle = handle;
    this.clock = clock;
    this.backlogBytesMax = 2 * config.queueBytesMax;
  }

  /** Opens and locks the data directory; throws NativeError (LOCKED, IO, UNKNOWN_VERSION, …). */
  static async open(
    library: NativeLibrary,
    config: EngineConfig,
    clock: Clock,
  ): Promise<NativeEngine> {
    const json = utf8.encode(
      JSON.stringify({
        data_dir: config.dataDir,
        committer_threads: config.committerThreads,
        worker_threads: config.workerThreads,
        queue_bytes_max: config.queueBytesMax,
        queue_appends_max: config.queueAppendsMax,
        completions_max: config.completionsMax,
        segment_bytes_max: config.segmentBytesMax,
        files_open_max: config.filesOpenMax,
        commit_wait_us: config.commitWaitUs,
        watchdog_seconds: config.watchdogSeconds,
      }),
    );
    const fd = new Int32Array(1);
    const handle = new BigUint64Array(1);
    const code = library.symbols.chronik_open(json, json.length, fd, handle);
    if (code !== status.OK) throw new NativeError(code, lastError(library.symbols, 0n));
    const engine = new NativeEngine(library, handle[0] ?? 0n, config, clock);
    await engine.listen(fd[0] ?? -1);
    return engine;
  }

  /** Commands submitted and not yet answered, those waiting here included. */
  get commandsInFlight(): number {
    return this.inFlight;
  }

  /** The hot path: no promise, `sink` is told when the bytes are durable. The bytes are copied
   * before this returns. Completions of one log come in submit order. */
  submitAppend(
    log: number,
    baseOffset: number,
    lastOffset: number,
    recordCount: number,
    leaderEpoch: number,
    bytes: Uint8Array,
    sink: CompletionSink,
  ): void {
    const token = this.take(bytes.length, sink);
    this.current.append(token, log, baseOffset, lastOffset, recordCount, leaderEpoch, bytes);
  }

  /** Durable when resolved; rejects with NativeError. */
  append(
    log: number,
    baseOffset: number,
    lastOffset: number,
    recordCount: number,
    leaderEpoch: number,
    bytes: Uint8Array,
  ): Promise<AppendDone> {
    return new Promise((resolve, reject) => {
      this.submitAppend(log, baseOffset, lastOffset, recordCount, leaderEpoch, bytes, {
        completed(code, segmentId, position, result) {
          if (code === status.OK) resolve({ segmentId, position });
          else reject(new NativeError(code, errorOf(result)));
        },
      });
    });
  }

  /** Whole batches from the one that holds `from` on; see chronik_read_range. */
  readRange(log: number, from: number, offsetLimit: number, bytesMax: number): Promise<ReadDone> {
    return new Promise((resolve, reject) => {
      const token = this.take(0, {
        completed(code, nextOffset, batchCount, result) {
          if (code === status.OK) resolve({ bytes: result ?? noBytes, nextOffset, batchCount });
          else reject(new NativeError(code, errorOf(result)));
        },
      });
      this.current.read(token, log, from, offsetLimit, bytesMax);
    });
  }

  /** Runs a job of ffi/chronik.h; a `log` in the JSON is also put into the command's header. With
   * `isLent` large raw bytes are not copied: nobody writes them until the job is done. */
  job<T>(
    json: object,
    raw: Uint8Array = noBytes,
    isLent = false,
  ): Promise<{ json: T; raw: Uint8Array }> {
    const text = utf8.encode(JSON.stringify(json));
    const log = "log" in json && typeof json.log === "number" ? json.log : 0;
    return new Promise((resolve, reject) => {
      const token = this.take(text.length + raw.length, {
        completed(code, _value0, _value1, result) {
          if (code !== status.OK) reject(new NativeError(code, errorOf(result)));
          else resolve(splitResult<T>(result));
        },
      });
      if (isLent && raw.length >= handedBytesMin) this.lend(token, log, text, raw);
      else this.current.job(token, log, text, raw);
    });
  }

  /** A submit of its own. */
  private lend(token: number, log: number, text: Uint8Array, raw: Uint8Array): void {
    if (this.current.length > 0) this.flush();
    this.current.job(token, log, text, noBytes);
    this.current.lent = raw;
    this.lent.set(token, raw);
    this.flush();
  }

  /** Structure, CRC and uncompressed records of one batch; pure and synchronous. */
  check(batch: Uint8Array): BatchCheck {
    const code = this.symbols.chronik_check(batch, batch.length, this.info, batchInfoBytes);
    const view = this.infoView;
    return {
      code,
      flags: view.getUint32(4, true),
      maxTimestamp: int64(view, 8),
      recordCount: view.getUint32(16, true),
    };
  }

  /** Waits for everything in flight, then closes: the clean-stop marks are durable afterwards. */
  async close(): Promise<void> {
    if (this.state !== "open") return;
    this.state = "closing";
    this.flush();
    if (this.inFlight > 0) {
      await new Promise<void>((resolve) => {
        this.idle = resolve;
      });
    }
    this.heartbeat?.cancel();
    this.state = "closed";
    const code = this.symbols.chronik_close(this.handle);
    this.doorbell?.end();
    if (code !== status.OK) throw new NativeError(code, "");
  }

  private async listen(fd: number): Promise<void> {
    const options = {
      fd,
      socket: {
        data: () => this.ring(),
        close: () => this.bellLost(),
        error: () => this.bellLost(),
      },
    };
    // Bun's types leave out `fd`, which its runtime takes.
    this.doorbell = await Bun.connect(options as unknown as Bun.UnixSocketOptions<undefined>);
    const beat = () => {
      this.reap();
      this.heartbeat = this.clock.schedule(heartbeatMs, beat);
    };
    beat();
  }

  /** Bun hands what a socket callback throws to `error`: a bug must not end there. */
  private ring(): void {
    try {
      this.reap();
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  }

  /** The heartbeat goes on reaping without the bell: slow, but nothing is lost. */
  private bellLost(): void {
    if (this.state === "closed") return;
    this.doorbell = null;
  }

  /** A token for one more command; makes room in the current buffer. */
  private take(payloadBytes: number, sink: CompletionSink): number {
    if (this.state !== "open") throw new NativeError(status.CLOSED, "");
    const length = this.current.length;
    const waiting = length + this.backlogBytes;
    // Something always fits: a single command may be larger than the bound.
    if (waiting > 0 && waiting + payloadBytes > this.backlogBytesMax) {
      throw new NativeError(status.BUSY, "");
    }
    const full = length > 0 && length + payloadBytes > submitBytesMax;
    if (full || this.current.count >= submitCommandsMax) this.flush();
    if (!this.flushScheduled) {
      this.flushScheduled = true;
      queueMicrotask(() => {
        this.flushScheduled = false;
        this.flush();
      });
    }
    const slot = this.slotsFree.pop() ?? this.sinks.length;
    this.sinks[slot] = sink;
    this.inFlight++;
    return slot;
  }

  private flush(): void {
    if (this.current.length > 0) {
      this.backlog.push(this.current);
      this.backlogBytes += this.current.bytesHeld;
      this.current = this.buffersIdle.pop() ?? new CommandBuffer(bufferBytes);
    }
    let head = this.backlog[0];
    while (head !== undefined) {
      const code = this.submit(head);
      // POISONED: the cdylib is ending the process with its own exit code; nothing is to be done.
      if (code === status.BUSY || code === status.POISONED) return;
      if (code !== status.OK) throw this.submitError(code);
      this.backlog.shift();
      this.backlogBytes -= head.bytesHeld;
      this.recycle(head);
      head = this.backlog[0];
    }
  }

  private submit({ bytes, length, lent }: CommandBuffer): number {
    const { handle, symbols } = this;
    if (lent === null) return symbols.chronik_submit(handle, bytes, length);
    return symbols.chronik_submit_lent(handle, bytes, length, lent, lent.length);
  }

  private submitError(code: number): BrokerError {
    const text = lastError(this.symbols, this.handle);
    return new NativeError(code, `the engine refused a command: ${text}`);
  }

  private recycle(buffer: CommandBuffer): void {
    if (this.buffersIdle.length >= buffersIdleMax || buffer.capacity > submitBytesMax * 2) return;
    buffer.clear();
    this.buffersIdle.push(buffer);
  }

  private reap(): void {
    if (this.state === "closed") return;
    for (;;) {
      const { completions } = this;
      const code = this.symbols.chronik_reap(
        this.handle,
        completions,
        completions.length,
        this.used,
      );
      if (code !== status.OK) throw new NativeError(code, lastError(this.symbols, this.handle));
      const used = Number(this.used[0]);
      if (used === 0) break;
      this.settle(used);
    }
    if (this.backlog.length > 0) this.flush();
    if (this.inFlight === 0 && this.idle !== null) {
      this.idle();
      this.idle = null;
    }
  }

  private settle(used: number): void {
    const view = this.completionsView;
    for (let at = 0; at < used; at += completionBytes) {
      const token = view.getUint32(at, true);
      const flags = view.getUint32(at + 12, true);
      const sink = this.sinks[token];
      assert(sink !== null && sink !== undefined, "a completion names a command in flight");
      const result =
        (flags & completionHasResult) === 0 ? null : this.fetch(token, int64(view, at + 32));
      this.sinks[token] = null;
      this.lent.delete(token);
      this.slotsFree.push(token);
      this.inFlight--;
      const code = view.getInt32(at + 8, true);
      sink.completed(code, int64(view, at + 16), int64(view, at + 24), result);
    }
  }

  private fetch(token: number, length: number): Uint8Array {
    if (length >= handedBytesMin) return this.takeOver(token, length);
    const out = Buffer.allocUnsafeSlow(length);
    const code = this.symbols.chronik_read(this.handle, token, 0, out, length, this.used);
    if (code !== status.OK) throw new NativeError(code, "a result could not be read");
    assert(Number(this.used[0]) === length, "a result is read whole");
    return out;
  }

  /** The engine's own bytes, freed when nothing here refers to them any more. */
  private takeOver(token: number, length: number): Uint8Array {
    const { parts } = this;
    const code = this.symbols.chronik_take(this.handle, token, parts);
    if (code !== status.OK) throw new NativeError(code, "a result could not be taken over");
    const [bytes, owner] = [pointer(parts[0]), pointer(parts[1])];
    return new Uint8Array(handedBuffer(bytes, 0, length, owner, this.releaser));
  }
}

/** Bun's types leave out the last two, which its runtime takes and its documentation names: what
 * frees the bytes once the collector has found the buffer unused, and that one's argument. */
const handedBuffer = toArrayBuffer as (
  bytes: Pointer,
  byteOffset: number,
  byteLength: number,
  owner: Pointer,
  releaser: Pointer,
) => ArrayBuffer;

/** Addresses fit a number; Bun's type for them is a number that says so. */
function pointer(address: bigint | number | undefined): Pointer {
  return Number(address ?? 0) as Pointer;
}

/** The text of an error job's result `{"error": text}`; results of appends have none. */
function errorOf(result: Uint8Array | null): string {
  if (result === null || result.length === 0) return "";
  const { json } = splitResult<{ error?: string }>(result);
  return json.error ?? "";
}

function splitResult<T>(result: Uint8Array | null): { json: T; raw: Uint8Array } {
  if (result === null || result.length < 4) return { json: {} as T, raw: noBytes };
  const view = new DataView(result.buffer, result.byteOffset, result.length);
  const length = view.getUint32(0, true);
  const text = Buffer.from(result.buffer, result.byteOffset + 4, length).toString("utf8");
  return { json: length === 0 ? ({} as T) : JSON.parse(text), raw: result.subarray(4 + length) };
}

function lastError(symbols: NativeSymbols, handle: bigint): string {
  const out = new Uint8Array(1024);
  const length = symbols.chronik_last_error(handle, out, out.length);
  return Buffer.from(out.buffer, 0, Math.max(0, Math.min(length, out.length))).toString("utf8");
}

/** Values the engine sends stay within ±2^53: offsets, positions, counts, timestamps. */
export function int64(view: DataView, at: number): number {
  return view.getInt32(at + 4, true) * 0x1_0000_0000 + view.getUint32(at, true);
}
