import type { BrokerError } from "../../src/lib/errors.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { type ShareConfig, shareConfigDefaults } from "../../src/share/config.ts";
import { Persister } from "../../src/share/persister.ts";
import type { StateLog, StateRecord, StateTopic } from "../../src/share/ports.ts";
import { decodeRecord } from "../../src/share/records.ts";
import type { ShareGroupsOptions } from "../../src/share/share-groups.ts";
import { FakeClock } from "../support/fake-clock.ts";
import type { LogLab } from "../support/log-lab.ts";

/** One partition of `__share_group_state` in memory; holds writes back when told to. */
export class MemoryLog implements StateLog {
  startOffset = 0;
  readonly records: StateRecord[] = [];
  errorCode: number = ErrorCode.NONE;
  isHeld = false;
  private held: (() => void)[] = [];

  get endOffset(): number {
    return this.records.length;
  }

  async append(records: readonly StateRecord[]) {
    if (this.isHeld) await new Promise<void>((resolve) => this.held.push(resolve));
    const { errorCode } = this;
    if (errorCode !== ErrorCode.NONE) return { errorCode, baseOffset: -1 };
    this.records.push(...records);
    return { errorCode, baseOffset: this.records.length - records.length };
  }

  release(): void {
    for (const go of this.held.splice(0)) go();
  }

  replay(onRecord: (key: Uint8Array, value: Uint8Array | null, offset: number) => void) {
    for (let at = this.startOffset; at < this.records.length; at++) {
      const record = this.records[at];
      if (record !== undefined) onRecord(record.key, record.value, at);
    }
    return Promise.resolve();
  }

  deleteBefore(offset: number): Promise<number> {
    this.startOffset = offset;
    return Promise.resolve(ErrorCode.NONE);
  }

  kinds(): string[] {
    return this.records.map((record) => decodeRecord(record.key, record.value).kind);
  }
}

/** Share states over one log; `open` is a start of the broker. */
export class StateWorld {
  readonly log = new MemoryLog();
  readonly clock = new FakeClock();
  readonly problems: BrokerError[] = [];
  readonly config: ShareConfig;

  constructor(config: Partial<ShareConfig> = {}) {
    this.config = { ...shareConfigDefaults, ...config };
  }

  /** As after a restart: only what is in the log is known. */
  open(): Persister {
    const topic: StateTopic = {
      partitionCount: 1,
      exists: true,
      partitionFor: () => 0,
      open: () => Promise.resolve(this.log),
    };
    const onProblem = (error: BrokerError) => this.problems.push(error);
    return new Persister({ config: this.config, topic, clock: this.clock, onProblem });
  }
}

/** For groups that have no dead letter queue. */
export function noDeadLetters(lab: LogLab): ShareGroupsOptions["deadLetters"] {
  const nobody = () => {
    throw new Error("no group has a dead letter queue");
  };
  return {
    readBudget: lab.partitions.readBudget,
    find: nobody,
    decompress: nobody,
    events: { copied: nobody, refused: nobody, failed: nobody },
  };
}
