/**
 * Headers of requests and responses. Flexible versions put a section of tagged fields behind the
 * header, with two exceptions: the client id keeps its old-style length in every version, and an
 * ApiVersions response never has tags (its reader cannot know the broker's version yet).
 */
import { ApiKey, apiInfos } from "./api-key.ts";
import type { Reader } from "./reader.ts";
import type { Writer } from "./writer.ts";

export interface RequestHeader {
  readonly apiKey: number;
  readonly apiVersion: number;
  readonly correlationId: number;
  readonly clientId: string | null;
}

/** Whether the API's version is flexible; false for an unknown API. */
export function isFlexible(apiKey: number, apiVersion: number): boolean {
  const info = apiInfos.get(apiKey);
  return info !== undefined && apiVersion >= info.flexibleFrom;
}

/** Leaves the reader at the body. For an unknown API that is a guess; nothing can be read there. */
export function decodeRequestHeader(r: Reader): RequestHeader {
  const apiKey = r.int16();
  const apiVersion = r.int16();
  const correlationId = r.int32();
  const clientId = r.nullableString();
  if (isFlexible(apiKey, apiVersion)) r.skipTags();
  return { apiKey, apiVersion, correlationId, clientId };
}

export function encodeRequestHeader(w: Writer, header: RequestHeader): void {
  w.int16(header.apiKey);
  w.int16(header.apiVersion);
  w.int32(header.correlationId);
  w.nullableString(header.clientId);
  if (isFlexible(header.apiKey, header.apiVersion)) w.unsignedVarint(0);
}

function responseHasTags(apiKey: number, apiVersion: number): boolean {
  return apiKey !== ApiKey.API_VERSIONS && isFlexible(apiKey, apiVersion);
}

/** Returns the correlation id and leaves the reader at the body. */
export function decodeResponseHeader(r: Reader, apiKey: number, apiVersion: number): number {
  const correlationId = r.int32();
  if (responseHasTags(apiKey, apiVersion)) r.skipTags();
  return correlationId;
}

export function encodeResponseHeader(
  w: Writer,
  apiKey: number,
  apiVersion: number,
  correlationId: number,
): void {
  w.int32(correlationId);
  if (responseHasTags(apiKey, apiVersion)) w.unsignedVarint(0);
}
