/**
 * Records of Kafka's internal topics: an int16 record type and the key message; an int16 version
 * and the value message.
 */
import { ProtocolError } from "../lib/errors.ts";
import type { DataCodec } from "./api-codec.ts";
import { Reader } from "./reader.ts";
import { Writer } from "./writer.ts";

export function encodeKey<Message>(codec: DataCodec<Message>, message: Message): Uint8Array {
  const writer = new Writer(128);
  writer.int16(codec.recordType ?? 0);
  codec.encode(writer, message, 0);
  return writer.bytesWritten();
}

export function encodeValue<Message>(
  codec: DataCodec<Message>,
  message: Message,
  version = 0,
): Uint8Array {
  const writer = new Writer(128);
  writer.int16(version);
  codec.encode(writer, message, version);
  return writer.bytesWritten();
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
