import { crc32c } from "../../src/protocol/crc32c.ts";
import {
  attributesOf,
  batchHeaderBytes,
  batchLogOverheadBytes,
  parseBatchHeader,
  sealBatch,
  writeBatchHeader,
} from "../../src/protocol/record-batch.ts";
import { batch } from "../support/log-lab.ts";

/** A batch of these values, compressed. */
export function gzipBatch(values: string[]): Uint8Array {
  const plain = batch({ values });
  const header = parseBatchHeader(plain);
  if (typeof header === "string") throw new Error(header);
  const payload = Bun.gzipSync(new Uint8Array(plain.subarray(batchHeaderBytes)));
  const packed = new Uint8Array(batchHeaderBytes + payload.length);
  const attributes = attributesOf({ compression: "gzip" });
  const batchLength = packed.length - batchLogOverheadBytes;
  writeBatchHeader(packed, 0, { ...header, attributes, batchLength });
  packed.set(payload, batchHeaderBytes);
  sealBatch(packed, 0, crc32c);
  return packed;
}
