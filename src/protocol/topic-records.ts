/**
 * Records of Kafka's internal topics: an int16 record type and the key message; an int16 version
 * and the value message.
 */
import { ProtocolError } from "../lib/errors.ts";
import type { DataCodec } from "./api-codec.ts";
import { Reader } from "./reader.ts";
import { Writer } from "./writer.ts";

/** Every record is copied out of it: a writer for each would cost several times as much. */
const scratch = new Writer();

export function encodeKey<Message>(codec: DataCodec<Message>, message: Message): Uint8Array {
  scratch.reset().int16(codec.recordType ?? 0);
  codec.encode(scratch, message, 0);
  return new Uint8Array(scratch.bytesWritten());
}

export function encodeValue<Message>(
  codec: DataCodec<Message>,
  message: Message,
  version = 0,
): Uint8Array {
  scratch.reset().int16(version);
  codec.encode(scratch, message, version);
  return new Uint8Array(scratch.bytesWritten());
}

/** Throws ProtocolError for a version that is not known, or bytes that are not what they say. */
export function decodeValue<Message>(
  codec: DataCodec<Message>,
  bytes: Uint8Array,
): ReturnType<DataCodec<Message>["decode"]> {
  const reader = new Reader(bytes);
  const version = reader.int16();
  if (version < codec.minVersion || version > codec.maxVersion) {
    throw new ProtocolError(`${codec.name} in version ${version}, which is not known`);
  }
  return codec.decode(reader, version);
}
