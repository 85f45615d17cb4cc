/** Every generated codec, found by walking src/protocol/messages. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import type { ApiCodec, DataCodec } from "../../../src/protocol/api-codec.ts";
import { Reader } from "../../../src/protocol/reader.ts";
import { Writer } from "../../../src/protocol/writer.ts";
import type { StructValue } from "./schema.ts";

export interface MessageCodec {
  decode(r: Reader, version: number): StructValue;
  encode(w: Writer, m: StructValue, version: number): void;
}

type AnyApi = ApiCodec<StructValue, StructValue>;
type AnyData = DataCodec<StructValue>;

const folder = join(import.meta.dir, "../../../src/protocol/messages");

export const apiCodecs: AnyApi[] = [];
export const messageCodecs = new Map<string, MessageCodec>();

for (const file of readdirSync(folder).sort()) {
  const exported: Record<string, unknown> = await import(join(folder, file));
  for (const [name, value] of Object.entries(exported)) {
    if (name.endsWith("Api")) addApi(value as AnyApi);
    if (name.endsWith("Data")) addData(value as AnyData);
  }
}

function addApi(api: AnyApi): void {
  apiCodecs.push(api);
  messageCodecs.set(`${api.name}Request`, {
    decode: (r, version) => api.decodeRequest(r, version) as StructValue,
    encode: (w, m, version) => api.encodeRequest(w, m, version),
  });
  messageCodecs.set(`${api.name}Response`, {
    decode: (r, version) => api.decodeResponse(r, version) as StructValue,
    encode: (w, m, version) => api.encodeResponse(w, m, version),
  });
}

function addData(data: AnyData): void {
  messageCodecs.set(data.name, {
    decode: (r, version) => data.decode(r, version) as StructValue,
    encode: (w, m, version) => data.encode(w, m, version),
  });
}

export function codecOf(name: string): MessageCodec {
  const codec = messageCodecs.get(name);
  if (codec === undefined) throw new Error(`no codec for ${name}`);
  return codec;
}

export function encodeToBytes(
  codec: MessageCodec,
  value: StructValue,
  version: number,
): Uint8Array {
  const w = new Writer();
  codec.encode(w, value, version);
  return w.take();
}

/** Decodes all of `bytes`; leftovers are an error. */
export function decodeAll(codec: MessageCodec, bytes: Uint8Array, version: number): StructValue {
  const r = new Reader(bytes);
  const value = codec.decode(r, version);
  if (r.remaining !== 0) throw new Error(`${r.remaining} bytes left over`);
  return value;
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
