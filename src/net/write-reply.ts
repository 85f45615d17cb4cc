import type { Reply } from "../api/router.ts";
import type { Writer } from "../protocol/writer.ts";

/** Null, or what went wrong: encoding its own answer can only fail by a bug. */
export function writeReply(reply: Reply | null, writer: Writer): unknown {
  if (reply === null) return null;
  try {
    reply.writeTo(writer);
    return null;
  } catch (error) {
    return error ?? new Error("thrown without a reason");
  }
}
