import type { Clock } from "../lib/clock.ts";
import { type ObjectPage, type ObjectStore, StoreError } from "./object-store.ts";

export type StoreOperation =
  | "put-file"
  | "put-bytes"
  | "head"
  | "get-range"
  | "open"
  | "list"
  | "delete";

/** One call of a store that has ended. */
export interface StoreCall {
  readonly operation: StoreOperation;
  /** `ok`; `exists` and `absent` where that was the answer; a StoreErrorKind; or `error`. */
  readonly outcome: string;
  /** Payload that was moved, 0 where it is not known or there is none. */
  readonly bytes: number;
  readonly seconds: number;
}

/** A store whose calls are told, with how they ended and how long they took: for metrics. */
export class MeteredStore implements ObjectStore {
  private readonly store: ObjectStore;
  private readonly clock: Clock;
  private readonly onCall: (call: StoreCall) => void;

  constructor(store: ObjectStore, clock: Clock, onCall: (call: StoreCall) => void) {
    this.store = store;
    this.clock = clock;
    this.onCall = onCall;
  }

  get description(): string {
    return this.store.description;
  }

  putFile(key: string, path: string, sha256: string): Promise<"stored" | "exists"> {
    const put = () => this.store.putFile(key, path, sha256);
    return this.told("put-file", put, putOutcome);
  }

  putBytes(key: string, bytes: Uint8Array): Promise<"stored" | "exists"> {
    const put = () => this.store.putBytes(key, bytes);
    return this.told("put-bytes", put, putOutcome, (answer) =>
      answer === "stored" ? bytes.length : 0,
    );
  }

  head(key: string): Promise<{ bytes: number } | null> {
    const outcome = (answer: unknown) => (answer === null ? "absent" : "ok");
    return this.told("head", () => this.store.head(key), outcome);
  }

  getRange(key: string, position: number, length: number): Promise<Uint8Array> {
    const get = () => this.store.getRange(key, position, length);
    return this.told("get-range", get, ok, (bytes) => bytes.length);
  }

  openForVerify(key: string): Promise<{ path: string; release(): Promise<void> }> {
    return this.told("open", () => this.store.openForVerify(key), ok);
  }

  list(prefix: string, after: string | null, limit: number): Promise<ObjectPage> {
    return this.told("list", () => this.store.list(prefix, after, limit), ok);
  }

  delete(key: string): Promise<void> {
    return this.told("delete", () => this.store.delete(key), ok);
  }

  private async told<T>(
    operation: StoreOperation,
    call: () => Promise<T>,
    outcomeOf: (answer: T) => string,
    bytesOf: (answer: T) => number = () => 0,
  ): Promise<T> {
    const startMs = this.clock.monotonicMs();
    const tell = (outcome: string, bytes: number) => {
      const seconds = (this.clock.monotonicMs() - startMs) / 1000;
      this.onCall({ operation, outcome, bytes, seconds });
    };
    try {
      const answer = await call();
      tell(outcomeOf(answer), bytesOf(answer));
      return answer;
    } catch (error) {
      tell(error instanceof StoreError ? error.kind : "error", 0);
      throw error;
    }
  }
}

function ok(): string {
  return "ok";
}

function putOutcome(answer: "stored" | "exists"): string {
  return answer === "stored" ? "ok" : "exists";
}
