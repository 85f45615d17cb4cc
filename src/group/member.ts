import { assert } from "../lib/assert.ts";
import type { MemberProtocol, RequestToken } from "./group-types.ts";

export const emptyBytes = new Uint8Array(0);

/** One member of a classic group. Holds at most one waiting JoinGroup and one waiting SyncGroup. */
export interface Member {
  readonly memberId: string;
  readonly groupInstanceId: string | null;
  readonly clientId: string;
  readonly clientHost: string;
  rebalanceTimeoutMs: number;
  sessionTimeoutMs: number;
  /** In order of preference, names distinct. */
  protocols: readonly MemberProtocol[];
  assignment: Uint8Array;
  joinRequest: RequestToken | null;
  syncRequest: RequestToken | null;
  /** True until its first generation: it has no way to send heartbeats before that. */
  isNew: boolean;
}

/** The list without later repetitions of a name. */
export function distinctProtocols(protocols: readonly MemberProtocol[]): readonly MemberProtocol[] {
  const names = new Set<string>();
  return protocols.filter((protocol) => {
    if (names.has(protocol.name)) return false;
    names.add(protocol.name);
    return true;
  });
}

/** The member's metadata for a protocol it is known to offer. */
export function metadataOf(member: Member, protocolName: string): Uint8Array {
  const protocol = member.protocols.find((candidate) => candidate.name === protocolName);
  assert(protocol !== undefined, `member ${member.memberId} does not offer ${protocolName}`);
  return protocol.metadata;
}

/** Same protocols, same order, same bytes. */
export function sameProtocols(
  left: readonly MemberProtocol[],
  right: readonly MemberProtocol[],
): boolean {
  if (left.length !== right.length) return false;
  return left.every((protocol, index) => {
    const other = right[index];
    return (
      other !== undefined &&
      protocol.name === other.name &&
      sameBytes(protocol.metadata, other.metadata)
    );
  });
}

/** The member's first choice among `candidates`, which hold at least one of its protocols. */
export function voteOf(member: Member, candidates: ReadonlySet<string>): string {
  const choice = member.protocols.find((protocol) => candidates.has(protocol.name));
  assert(choice !== undefined, `member ${member.memberId} offers none of the common protocols`);
  return choice.name;
}

/** Bytes a member's strings, metadata and assignment take, roughly. */
export function memberBytes(member: Member): number {
  const fixedBytes = 256;
  const text = member.memberId.length + member.clientId.length + member.clientHost.length;
  const instance = member.groupInstanceId?.length ?? 0;
  return (
    fixedBytes + 2 * (text + instance) + protocolBytes(member.protocols) + member.assignment.length
  );
}

/** Bytes an id takes that was handed out and not used yet, roughly. */
export function pendingBytes(memberId: string): number {
  const fixedBytes = 256;
  return fixedBytes + 2 * memberId.length;
}

export function protocolBytes(protocols: readonly MemberProtocol[]): number {
  let bytes = 0;
  for (const protocol of protocols) bytes += 2 * protocol.name.length + protocol.metadata.length;
  return bytes;
}

function sameBytes(left: Uint8Array, right: Uint8Array): boolean {
  if (left.length !== right.length) return false;
  for (let index = 0; index < left.length; index++) {
    if (left[index] !== right[index]) return false;
  }
  return true;
}
