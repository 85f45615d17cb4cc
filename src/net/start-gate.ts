import type { Dispatcher, Peer, Reply } from "../api/router.ts";
import { CloseConnection } from "../lib/errors.ts";

/**
 * Holds requests back until the broker can serve them. Clients that connect while it starts wait
 * for their answer instead of being turned away: a Java client whose connection attempts were
 * refused backs off up to a second more, and fails what it has to send in that time. Whoever hangs
 * up before is forgotten: a start may take longer than clients wait, and they send it all again.
 */
export class StartGate implements Dispatcher {
  private readonly inner: Dispatcher;
  private isOpen = false;
  private readonly waiting = new Set<() => void>();

  constructor(inner: Dispatcher) {
    this.inner = inner;
  }

  /** From now on requests are served; those that wait, in the order in which they came. */
  open(): void {
    this.isOpen = true;
    for (const release of this.waiting) release();
    this.waiting.clear();
  }

  dispatch(frame: Uint8Array, peer: Peer): Reply | null | Promise<Reply | null> {
    if (this.isOpen) return this.inner.dispatch(frame, peer);
    return this.turn(peer.signal).then(() => this.inner.dispatch(frame, peer));
  }

  /** Rejects with CloseConnection, which nobody has to hear of, when the client is gone. */
  private turn(signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const gone = () => {
      this.waiting.delete(release);
      reject(new CloseConnection(""));
    };
    const release = () => {
      signal.removeEventListener("abort", gone);
      resolve();
    };
    if (signal.aborted) {
      gone();
    } else {
      this.waiting.add(release);
      signal.addEventListener("abort", gone, { once: true });
    }
    return promise;
  }

  mayOverlap(apiKey: number): boolean {
    return this.inner.mayOverlap(apiKey);
  }
}
