/** What an operator can act on: says what happened, where, and what to do. `code` is stable. */
export class BrokerError extends Error {
  override readonly name = "BrokerError";
  readonly code: `CHRONIK_${string}`;

  constructor(code: `CHRONIK_${string}`, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** Bytes from a peer that are not valid protocol. Closes that one connection with one log line. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
}

/** A handler's wish that this connection ends without an answer, as Kafka does when a Produce with
 * acks=0 fails. Earlier responses still go out; the reason becomes one log line. */
export class CloseConnection extends Error {
  override readonly name = "CloseConnection";
}

/** The text of anything thrown, for a log line. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
