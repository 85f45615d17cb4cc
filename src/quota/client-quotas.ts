import type { Clock } from "../lib/clock.ts";
import { canonicalIp } from "../lib/ip-address.ts";
import type { ClientQuota } from "../metadata/client-quotas.ts";
import { QuotaLimits } from "./quota-limits.ts";
import { Recent } from "./recent.ts";
import { TokenBucket } from "./token-bucket.ts";
import { WindowedRate, type Windows } from "./windowed-rate.ts";

export interface ClientQuotaOptions {
  readonly clock: Clock;
  /** `quota.window.num` and `quota.window.size.seconds`. */
  readonly windows: Windows;
  /** `controller.quota.window.num` and `controller.quota.window.size.seconds`. */
  readonly controllerWindows: Windows;
  /** Who is counted at a time, for each kind of quota. */
  readonly entitiesMax: number;
}

/** Who asks. */
export interface QuotaClient {
  readonly user: string;
  readonly clientId: string;
}

/** What one request may create or delete (KIP-599). */
export interface MutationQuota {
  /** Whether so many partitions may be created or deleted now; if so they are counted. */
  admit(partitions: number): boolean;
  /** How long the client is to wait, as of now. */
  throttleMs(): number;
}

/** As in Kafka: who is not seen for an hour is counted anew. */
const idleMsMax = 3_600_000;
const percentPerMs = 0.1;
const noQuotas: readonly ClientQuota[] = [];
const unlimited: MutationQuota = { admit: () => true, throttleMs: () => 0 };

/** A rate that clients may not go beyond. */
class RateQuota {
  private readonly key: string;
  private readonly recent: Recent<WindowedRate>;
  private limits: QuotaLimits;

  constructor(key: string, { windows, entitiesMax }: ClientQuotaOptions) {
    this.key = key;
    this.limits = new QuotaLimits(key, noQuotas);
    this.recent = new Recent(entitiesMax, idleMsMax, () => new WindowedRate(windows));
  }

  get isEmpty(): boolean {
    return this.limits.isEmpty;
  }

  get tracked(): number {
    return this.recent.size;
  }

  update(quotas: Iterable<ClientQuota>): void {
    this.limits = new QuotaLimits(this.key, quotas);
    if (this.limits.isEmpty) this.recent.clear();
  }

  limitOf({ user, clientId }: QuotaClient): number | null {
    return this.limits.isEmpty ? null : (this.limits.find(user, clientId)?.perSecond ?? null);
  }

  /** Counts `value`; how long the client has to wait for it. */
  charge({ user, clientId }: QuotaClient, value: number, nowMs: number): number {
    const limit = this.limits.isEmpty ? null : this.limits.find(user, clientId);
    if (limit === null) return 0;
    const rate = this.recent.use(limit.shared, nowMs);
    rate.record(value, nowMs);
    return rate.throttleMs(limit.perSecond, nowMs);
  }
}

/** What a fetch costs its client. */
export interface FetchCharge {
  readonly throttleMs: number;
  /** It is answered without partitions, and asks again after the throttle. */
  readonly isHeldBack: boolean;
}

/**
 * The quotas that are set, and what each client used of them (KIP-13, KIP-124, KIP-599, KIP-612).
 * Every answer is in milliseconds that the client's connection is to be left unread; 0: go on.
 * Without a quota nothing is counted.
 */
export class ClientQuotas {
  private readonly options: ClientQuotaOptions;
  private readonly produced: RateQuota;
  private readonly fetched: RateQuota;
  private readonly requested: RateQuota;
  private mutationLimits = new QuotaLimits("", noQuotas);
  private readonly buckets: Recent<TokenBucket>;
  private addressLimits = new Map<string | null, number>();
  private readonly addresses: Recent<WindowedRate>;

  constructor(options: ClientQuotaOptions) {
    this.options = options;
    const { windows, controllerWindows, entitiesMax } = options;
    this.produced = new RateQuota("producer_byte_rate", options);
    this.fetched = new RateQuota("consumer_byte_rate", options);
    this.requested = new RateQuota("request_percentage", options);
    this.buckets = new Recent(entitiesMax, idleMsMax, () => new TokenBucket(controllerWindows));
    this.addresses = new Recent(entitiesMax, idleMsMax, () => new WindowedRate(windows));
  }

  /** Who is counted now. */
  get tracked(): number {
    const { produced, fetched, requested, buckets, addresses } = this;
    const ofRates = produced.tracked + fetched.tracked + requested.tracked;
    return ofRates + buckets.size + addresses.size;
  }

  /** Takes over what is set; who was counted stays counted. */
  update(all: ReadonlyMap<string, ClientQuota>): void {
    const quotas = [...all.values()];
    const ofClients = quotas.filter(({ entity }) => entity.every(([type]) => type !== "ip"));
    for (const quota of [this.produced, this.fetched, this.requested]) quota.update(ofClients);
    this.mutationLimits = new QuotaLimits("controller_mutation_rate", ofClients);
    this.addressLimits = new Map();
    for (const { entity, values } of quotas) {
      const ip = entity.find(([type]) => type === "ip");
      const value = values.get("connection_creation_rate");
      if (ip === undefined || value === undefined) continue;
      this.addressLimits.set(ip[1] === null ? null : canonicalIp(ip[1]), value);
    }
  }

  get countsFetches(): boolean {
    return !this.fetched.isEmpty;
  }

  produce(client: QuotaClient, bytes: number): number {
    if (this.produced.isEmpty) return 0;
    return this.produced.charge(client, bytes, this.nowMs());
  }

  /**
   * What is held back is not counted: the client asks for it again. One batch that is more than the
   * quota lets through in all of its windows would be held back for ever (as in Apache Kafka 4.3.1,
   * whose consumers stand still there): it goes out when the client is within its quota, and the
   * client waits afterwards.
   */
  fetch(client: QuotaClient, bytes: number): FetchCharge {
    if (this.fetched.isEmpty) return { throttleMs: 0, isHeldBack: false };
    const nowMs = this.nowMs();
    const isWithin = this.fetched.charge(client, 0, nowMs) === 0;
    const throttleMs = this.fetched.charge(client, bytes, nowMs);
    const neverFits = isWithin && bytes > this.fetchBytesMax(client);
    const isHeldBack = throttleMs > 0 && !neverFits;
    if (isHeldBack) this.fetched.charge(client, -bytes, nowMs);
    return { throttleMs, isHeldBack };
  }

  /** As `fetch`, of what is sent whatever the answer. */
  deliver(client: QuotaClient, bytes: number): number {
    return this.fetched.isEmpty ? 0 : this.fetched.charge(client, bytes, this.nowMs());
  }

  /** Takes back what `fetch` counted and the client is not sent after all. */
  notFetched(client: QuotaClient, bytes: number): void {
    if (!this.fetched.isEmpty) this.fetched.charge(client, -bytes, this.nowMs());
  }

  /** More in one answer would always be held back. */
  fetchBytesMax(client: QuotaClient): number {
    const limit = this.fetched.isEmpty ? null : this.fetched.limitOf(client);
    const { count, lengthMs } = this.options.windows;
    if (limit === null) return Number.POSITIVE_INFINITY;
    return Math.floor((limit * (count - 1) * lengthMs) / 1000);
  }

  get countsRequests(): boolean {
    return !this.requested.isEmpty;
  }

  /** `workMs`: time of the event loop. A client waits for one window at most. */
  request(client: QuotaClient, workMs: number): number {
    if (this.requested.isEmpty) return 0;
    const throttleMs = this.requested.charge(client, workMs * percentPerMs, this.nowMs());
    return Math.min(throttleMs, this.options.windows.lengthMs);
  }

  /** `strict`: what goes beyond is refused (the client knows THROTTLING_QUOTA_EXCEEDED). */
  mutations({ user, clientId }: QuotaClient, strict: boolean): MutationQuota {
    const limit = this.mutationLimits.isEmpty ? null : this.mutationLimits.find(user, clientId);
    if (limit === null) return unlimited;
    const { perSecond, shared } = limit;
    const bucket = this.buckets.use(shared, this.nowMs());
    let untilMs = 0;
    const noteWait = (nowMs: number): boolean => {
      const throttleMs = bucket.throttleMs(perSecond, nowMs);
      if (throttleMs > 0) untilMs = nowMs + throttleMs;
      return throttleMs > 0;
    };
    return {
      admit: (partitions) => {
        const nowMs = this.nowMs();
        if (strict && noteWait(nowMs)) return false;
        bucket.take(partitions, perSecond, nowMs);
        if (!strict) noteWait(nowMs);
        return true;
      },
      throttleMs: () => Math.max(0, Math.round(untilMs - this.nowMs())),
    };
  }

  /** A connection came from `address`. Not 0: it came too soon, is not counted, and is to be
   * closed after so long. */
  connection(address: string): number {
    if (this.addressLimits.size === 0) return 0;
    const ip = canonicalIp(address) ?? address;
    const limit = this.addressLimits.get(ip) ?? this.addressLimits.get(null);
    if (limit === undefined) return 0;
    const nowMs = this.nowMs();
    const rate = this.addresses.use(ip, nowMs);
    rate.record(1, nowMs);
    const throttleMs = rate.throttleMs(limit, nowMs);
    if (throttleMs > 0) rate.record(-1, nowMs);
    return Math.min(throttleMs, this.options.windows.lengthMs);
  }

  private nowMs(): number {
    return this.options.clock.monotonicMs();
  }
}
