import type { Clock } from "../lib/clock.ts";
import { crc32c } from "../protocol/crc32c.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import { newUuid, uuidToBytes, zeroUuid } from "../protocol/uuid.ts";
import type { ClientAttributes, Subscriptions } from "./subscriptions.ts";

/** The connection a request came by, and what its client says of itself. */
export interface ClientPeer {
  readonly connectionId: number;
  readonly attributes: Omit<ClientAttributes, "client_instance_id">;
}

/** One client, by the id it keeps for its life, and what it was asked for. */
export interface ClientInstance {
  readonly id: string;
  readonly attributes: ClientAttributes;
  readonly subscriptionId: number;
  readonly subscriptionVersion: number;
  readonly metrics: readonly string[];
  readonly intervalMs: number;
  lastGetMs: number;
  lastPushMs: number;
  terminating: boolean;
  /** Of its last push or, when that went well, of its last question. */
  lastError: number;
  expiresMs: number;
}

export interface PushHead {
  readonly clientInstanceId: string;
  readonly subscriptionId: number;
  readonly terminating: boolean;
  readonly compressionType: number;
  readonly metricsBytes: number;
}

export interface InstanceLimits {
  readonly instancesMax: number;
  /** Largest payload, in bytes, compressed and not. */
  readonly bytesMax: number;
}

type Outcome<T> = { readonly errorCode: number; readonly instance: T };

const { NONE, INVALID_REQUEST, THROTTLING_QUOTA_EXCEEDED } = ErrorCode;
const { UNKNOWN_SUBSCRIPTION_ID, UNSUPPORTED_COMPRESSION_TYPE, TELEMETRY_TOO_LARGE } = ErrorCode;

/** Kafka's second reserved uuid, sixteen bytes that make one. */
const oneUuid = "AAAAAAAAAAAAAAAAAAAAAQ";
const codecMax = 4;
const expiryMsMin = 60_000;
const expiryIntervals = 3;

/** How long what a client pushes, and the client itself, is remembered without a word from it. */
export function keepMsOf({ intervalMs }: Pick<ClientInstance, "intervalMs">): number {
  return Math.max(expiryMsMin, intervalMs * expiryIntervals);
}

/**
 * The clients that ask for subscriptions and push, and Kafka's rules for them (KIP-714,
 * ClientMetricsManager): who is too early, whose subscription is an old one. The longest unheard of
 * go first when there are too many; all go some time after their last request, or with the
 * connection that made them known.
 */
export class ClientInstances {
  private readonly clock: Clock;
  private readonly subscriptions: Subscriptions;
  private readonly limits: InstanceLimits;
  /** The longest unheard of first. */
  private readonly byId = new Map<string, ClientInstance>();
  /** Which client a connection made known last. */
  private readonly idByConnection = new Map<number, string>();

  constructor(clock: Clock, subscriptions: Subscriptions, limits: InstanceLimits) {
    this.clock = clock;
    this.subscriptions = subscriptions;
    this.limits = limits;
  }

  /** Clients remembered, those counted out that time is up for. */
  count(): number {
    const nowMs = this.clock.monotonicMs();
    for (const [id, { expiresMs }] of this.byId) {
      if (expiresMs <= nowMs) this.byId.delete(id);
    }
    return this.byId.size;
  }

  /** A question for subscriptions; the zero uuid stands for a client that has no id yet. */
  ask(clientInstanceId: string, peer: ClientPeer): Outcome<ClientInstance> {
    const id = clientInstanceId === zeroUuid ? this.freshId() : clientInstanceId;
    const instance = this.instance(id, peer);
    const nowMs = this.clock.monotonicMs();
    if (nowMs - Math.max(instance.lastGetMs, instance.lastPushMs) >= instance.intervalMs) {
      instance.lastGetMs = nowMs;
    } else if (!asksAnew(instance.lastError)) {
      return { errorCode: THROTTLING_QUOTA_EXCEEDED, instance };
    }
    instance.lastError = NONE;
    return { errorCode: NONE, instance };
  }

  /** Whether a push may be taken; `settle` follows when its payload was. */
  admit(push: PushHead, peer: ClientPeer): Outcome<ClientInstance | null> {
    const { clientInstanceId: id } = push;
    if (id === zeroUuid || id === oneUuid) return { errorCode: INVALID_REQUEST, instance: null };
    const instance = this.instance(id, peer);
    const errorCode = this.check(push, instance);
    if (errorCode !== NONE) instance.lastError = errorCode;
    instance.terminating = push.terminating;
    return { errorCode, instance };
  }

  /** The connection is gone, and with it the client that it made known. */
  disconnected(connectionId: number): void {
    const id = this.idByConnection.get(connectionId);
    if (id === undefined) return;
    this.idByConnection.delete(connectionId);
    this.byId.delete(id);
  }

  private check(push: PushHead, instance: ClientInstance): number {
    if (instance.terminating) return INVALID_REQUEST;
    const nowMs = this.clock.monotonicMs();
    // Questions do not count: clients wait a random part of the interval before they push.
    if (nowMs - instance.lastPushMs >= instance.intervalMs) instance.lastPushMs = nowMs;
    else if (!push.terminating) return THROTTLING_QUOTA_EXCEEDED;
    if (push.subscriptionId !== instance.subscriptionId) return UNKNOWN_SUBSCRIPTION_ID;
    const { compressionType } = push;
    if (compressionType < 0 || compressionType > codecMax) return UNSUPPORTED_COMPRESSION_TYPE;
    return push.metricsBytes > this.limits.bytesMax ? TELEMETRY_TOO_LARGE : NONE;
  }

  /** The client, matched anew when subscriptions changed, and remembered for longer. */
  private instance(id: string, peer: ClientPeer): ClientInstance {
    const nowMs = this.clock.monotonicMs();
    let instance = this.byId.get(id);
    this.byId.delete(id);
    if (instance !== undefined && instance.expiresMs <= nowMs) instance = undefined;
    if (instance === undefined || instance.subscriptionVersion < this.subscriptions.version) {
      instance = this.create(
        instance?.attributes ?? { ...peer.attributes, client_instance_id: id },
      );
      this.idByConnection.set(peer.connectionId, id);
    }
    instance.expiresMs = nowMs + keepMsOf(instance);
    this.byId.set(id, instance);
    if (this.byId.size > this.limits.instancesMax) {
      const [oldest] = this.byId.keys();
      if (oldest !== undefined) this.byId.delete(oldest);
    }
    return instance;
  }

  private create(attributes: ClientAttributes): ClientInstance {
    const { metrics, intervalMs } = this.subscriptions.wantedOf(attributes);
    const id = attributes.client_instance_id;
    return {
      id,
      attributes,
      subscriptionId: subscriptionIdOf(metrics, intervalMs, id),
      subscriptionVersion: this.subscriptions.version,
      metrics,
      intervalMs,
      lastGetMs: Number.NEGATIVE_INFINITY,
      lastPushMs: Number.NEGATIVE_INFINITY,
      terminating: false,
      lastError: NONE,
      expiresMs: 0,
    };
  }

  private freshId(): string {
    let id = newUuid();
    while (this.byId.has(id)) id = newUuid();
    return id;
  }
}

/** A client that was told so is to ask again at once. */
function asksAnew(lastError: number): boolean {
  return lastError === UNKNOWN_SUBSCRIPTION_ID || lastError === UNSUPPORTED_COMPRESSION_TYPE;
}

/** CRC-32C of what is asked for, as Java prints it, XOR Java's hash of the client's uuid. */
export function subscriptionIdOf(
  metrics: readonly string[],
  intervalMs: number,
  clientInstanceId: string,
): number {
  const text = `[${metrics.join(", ")}]${intervalMs}`;
  const id = uuidToBytes(clientInstanceId);
  const words = new DataView(id.buffer, id.byteOffset, id.byteLength);
  let subscriptionId = crc32c(new TextEncoder().encode(text)) | 0;
  for (let at = 0; at < 16; at += 4) subscriptionId ^= words.getInt32(at);
  return subscriptionId;
}
