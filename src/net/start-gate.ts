import type { Dispatcher, Peer, Reply } from "../api/router.ts";

/**
 * Holds requests back until the broker can serve them. Clients that connect while it starts wait
 * for their answer instead of being turned away: a Java client whose connection attempts were
 * refused backs off up to a second more, and fails what it has to send in that time.
 */
export class StartGate implements Dispatcher {
  private readonly inner: Dispatcher;
  private readonly opened: Promise<void>;
  private isOpen = false;
  private release: () => void = () => undefined;

  constructor(inner: Dispatcher) {
    this.inner = inner;
    this.opened = new Promise((resolve) => {
      this.release = resolve;
    });
  }

  /** From now on requests are served; those that wait, in the order in which they came. */
  open(): void {
    this.isOpen = true;
    this.release();
  }

  dispatch(frame: Uint8Array, peer: Peer): Reply | null | Promise<Reply | null> {
    if (this.isOpen) return this.inner.dispatch(frame, peer);
    return this.opened.then(() => this.inner.dispatch(frame, peer));
  }

  mayOverlap(apiKey: number): boolean {
    return this.inner.mayOverlap(apiKey);
  }
}
