import { featureLevel } from "../metadata/features.ts";
import type { RequestContext, Services, Session } from "./context.ts";

const shareFeature = "share.version";

/** Whether the cluster's features have share groups; without them their APIs are not served. */
export function servesShareGroups({ metadata }: Services): boolean {
  return featureLevel(metadata.image, shareFeature) > 0;
}

const watched = new WeakSet<Session>();

/** The share sessions of a connection end with it, and what their members hold is given back. */
export function watchConnection({ session, services, signal }: RequestContext): void {
  const closed = () => void services.shares.connectionClosed(session.id);
  if (signal.aborted) {
    // A request that arrived whole is carried out even then: nobody else ends what it began.
    closed();
    return;
  }
  if (watched.has(session)) return;
  watched.add(session);
  signal.addEventListener("abort", closed, { once: true });
}

export async function endSession(
  { services }: RequestContext,
  groupId: string,
  memberId: string,
): Promise<void> {
  const session = services.shares.sessions.find(groupId, memberId);
  if (session !== null) await services.shares.endSession(session);
}
