import type { ApiCodec, Decoded } from "../../src/protocol/api-codec.ts";

/** A connection that answers typed requests; rejects what is in flight when it is lost. */
export interface Requester {
  request<Req, Res>(codec: ApiCodec<Req, Res>, version: number, request: Req): Promise<Decoded<Res>>;
  close(): void;
}

export type Connect = () => Promise<Requester>;
