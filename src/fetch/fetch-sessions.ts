/** The cache of fetch sessions (KIP-227) and what each request means for it. (pure) */
import { assert } from "../lib/assert.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type FetchAnswer,
  type FetchAsk,
  FetchSession,
  finalEpoch,
  initialEpoch,
  keyOf,
  nextEpoch,
  noSessionId,
  type PartitionName,
  SessionPartition,
} from "./fetch-session.ts";

/** For so long a session is new, and so long unused it is stale. */
const evictionMs = 120_000;

export interface FetchSessionLimits {
  /** `max.incremental.fetch.session.cache.slots`; 0: no sessions. */
  readonly sessionsMax: number;
  /** Memory of all sessions' partitions together, about. */
  readonly bytesMax: number;
}

export interface SessionRequest {
  readonly sessionId: number;
  readonly epoch: number;
  /** v13 and later name topics by id. */
  readonly usesTopicIds: boolean;
  readonly isFollower: boolean;
  readonly asks: readonly FetchAsk[];
  readonly forget: readonly PartitionName[];
}

/** What is answered of a fetch: `answers` holds those of the asks that the client must hear of. */
export interface SessionAnswer {
  readonly errorCode: number;
  readonly sessionId: number;
  readonly answers: readonly AskAnswer[];
}

export interface AskAnswer {
  readonly ask: FetchAsk;
  readonly answer: FetchAnswer;
}

/** One request from its start to its answer; exactly one of `finish` and `throttled` is called. */
export interface FetchContext {
  /** Not 0: nothing is read, this is the answer. */
  readonly errorCode: number;
  /** What to read, in order. */
  readonly asks: readonly FetchAsk[];
  /** Of `all`, those that `finish` would answer. Changes nothing. */
  news(all: readonly AskAnswer[]): readonly AskAnswer[];
  /** `all`: what was found, in the order of `asks`. */
  finish(all: readonly AskAnswer[], nowMs: number): SessionAnswer;
  /** An answer without partitions: the client asks again, and the session goes on. */
  throttled(): SessionAnswer;
}

export class FetchSessions {
  private readonly limits: FetchSessionLimits;
  private readonly randomId: () => number;
  /** Least recently used first. */
  private readonly sessions = new Map<number, FetchSession>();
  private bytesHeld = 0;
  private partitionsHeld = 0;
  private evicted = 0;

  /** `randomId`: int32 above 0; taken ones are drawn again. */
  constructor(limits: FetchSessionLimits, randomId: () => number) {
    this.limits = limits;
    this.randomId = randomId;
  }

  get size(): number {
    return this.sessions.size;
  }

  get partitions(): number {
    return this.partitionsHeld;
  }

  get bytes(): number {
    return this.bytesHeld;
  }

  /** Sessions that made room for others since the start. */
  get evictions(): number {
    return this.evicted;
  }

  /** Looks at the session a request names and takes over what it changes. */
  begin(request: SessionRequest, nowMs: number): FetchContext {
    const { sessionId, epoch } = request;
    if (epoch === initialEpoch || epoch === finalEpoch) {
      // Whatever session a full request names is closed.
      this.removeId(sessionId);
      if (epoch === finalEpoch) return sessionless(request.asks);
      return this.full(request);
    }
    const session = this.sessions.get(sessionId);
    if (session === undefined) return refused(ErrorCode.FETCH_SESSION_ID_NOT_FOUND);
    if (session.epoch !== epoch) return refused(ErrorCode.INVALID_FETCH_SESSION_EPOCH);
    if (session.usesTopicIds !== request.usesTopicIds) {
      return refused(ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR);
    }
    this.forget(session);
    session.update(request.asks, request.forget);
    if (session.size === 0) return sessionless(request.asks);
    // Without its session the client starts anew with a full request, which may get none.
    if (this.bytesHeld + session.bytes > this.limits.bytesMax) {
      this.evicted += 1;
      return refused(ErrorCode.FETCH_SESSION_ID_NOT_FOUND);
    }
    this.keep(session, nowMs);
    session.epoch = nextEpoch(session.epoch);
    return incremental(session);
  }

  private full({ asks, usesTopicIds, isFollower }: SessionRequest): FetchContext {
    const unique = onePerPartition(asks);
    return {
      errorCode: ErrorCode.NONE,
      asks: unique,
      news: (all) => all,
      finish: (all, nowMs) => ({
        errorCode: ErrorCode.NONE,
        sessionId: this.create(all, usesTopicIds, isFollower, nowMs),
        answers: all,
      }),
      throttled: () => emptyAnswer(ErrorCode.NONE, noSessionId),
    };
  }

  /** Id of a new session that remembers `all` as told; 0 where there is no room for it. */
  private create(
    all: readonly AskAnswer[],
    usesTopicIds: boolean,
    privileged: boolean,
    nowMs: number,
  ): number {
    // Kafka makes one without partitions too; its first use closes it.
    const partitions = all.map(({ ask, answer }) => {
      const partition = new SessionPartition(ask, keyOf(ask));
      partition.told(answer);
      return partition;
    });
    const bytes = partitions.reduce((sum, partition) => sum + partition.bytes, 0);
    if (bytes > this.limits.bytesMax) return noSessionId;
    const isFull = () =>
      this.sessions.size >= this.limits.sessionsMax ||
      this.bytesHeld + bytes > this.limits.bytesMax;
    while (isFull()) {
      if (!this.evictFor(privileged, partitions.length, nowMs)) return noSessionId;
    }
    const session = new FetchSession(this.freeId(), privileged, usesTopicIds, nowMs);
    for (const partition of partitions) session.add(partition);
    this.keep(session, nowMs);
    return session.id;
  }

  /** Kafka's rule: what is long unused goes; else the smallest that is smaller than the newcomer
   * and no longer new, a consumer's before a follower's. */
  private evictFor(privileged: boolean, size: number, nowMs: number): boolean {
    const [oldest] = this.sessions.values();
    if (oldest === undefined) return false;
    let victim: FetchSession | null = oldest;
    if (nowMs - oldest.usedMs <= evictionMs) {
      victim = this.least(privileged);
      if (victim === null || !isWorthLess(victim, privileged, size)) return false;
    }
    this.forget(victim);
    this.evicted += 1;
    return true;
  }

  private least(byPrivileged: boolean): FetchSession | null {
    let least: FetchSession | null = null;
    for (const session of this.sessions.values()) {
      if (!(byPrivileged ? session.evictableByPrivileged : session.evictableByAll)) continue;
      if (least === null || isLess(session, least)) least = session;
    }
    return least;
  }

  /** Puts a session in, or back, as the one used last. */
  private keep(session: FetchSession, nowMs: number): void {
    const grown = nowMs - session.createdMs > evictionMs;
    session.usedMs = nowMs;
    session.evictableByAll = grown;
    session.evictableByPrivileged = grown || !session.privileged;
    this.sessions.set(session.id, session);
    this.bytesHeld += session.bytes;
    this.partitionsHeld += session.size;
  }

  private removeId(sessionId: number): void {
    const session = this.sessions.get(sessionId);
    if (session !== undefined) this.forget(session);
  }

  private forget(session: FetchSession): void {
    if (!this.sessions.delete(session.id)) return;
    this.bytesHeld -= session.bytes;
    this.partitionsHeld -= session.size;
  }

  private freeId(): number {
    for (;;) {
      const id = this.randomId();
      assert(Number.isInteger(id) && id > 0, "a session id is above 0");
      if (!this.sessions.has(id)) return id;
    }
  }
}

function incremental(session: FetchSession): FetchContext {
  const { epoch, id } = session;
  const asks = session.asks();
  const news = (all: readonly AskAnswer[]) => {
    const found: AskAnswer[] = [];
    for (const [at, one] of all.entries()) if (asks[at]?.hasNews(one.answer)) found.push(one);
    return found;
  };
  return {
    errorCode: ErrorCode.NONE,
    asks,
    news: (all) => (session.epoch === epoch ? news(all) : []),
    finish(all) {
      // Another request took the session on meanwhile: the client repeated itself.
      if (session.epoch !== epoch) return emptyAnswer(ErrorCode.INVALID_FETCH_SESSION_EPOCH, id);
      const answers = news(all);
      for (const { ask, answer } of answers) {
        assert(ask instanceof SessionPartition, "the session's own asks come back");
        session.told(ask, answer);
      }
      return { errorCode: ErrorCode.NONE, sessionId: id, answers };
    },
    throttled() {
      const isCurrent = session.epoch === epoch;
      const errorCode = isCurrent ? ErrorCode.NONE : ErrorCode.INVALID_FETCH_SESSION_EPOCH;
      return emptyAnswer(errorCode, id);
    },
  };
}

function sessionless(asks: readonly FetchAsk[]): FetchContext {
  return {
    errorCode: ErrorCode.NONE,
    asks: onePerPartition(asks),
    news: (all) => all,
    finish: (all) => ({ errorCode: ErrorCode.NONE, sessionId: noSessionId, answers: all }),
    throttled: () => emptyAnswer(ErrorCode.NONE, noSessionId),
  };
}

function refused(errorCode: number): FetchContext {
  const answer = () => emptyAnswer(errorCode, noSessionId);
  return { errorCode, asks: [], news: () => [], finish: answer, throttled: answer };
}

function emptyAnswer(errorCode: number, sessionId: number): SessionAnswer {
  return { errorCode, sessionId, answers: [] };
}

/** A partition named twice is asked once, where it was first, as it was last. */
function onePerPartition(asks: readonly FetchAsk[]): readonly FetchAsk[] {
  if (asks.length < 2) return asks;
  const unique = new Map<string, FetchAsk>();
  for (const ask of asks) unique.set(keyOf(ask), ask);
  return unique.size === asks.length ? asks : [...unique.values()];
}

function isWorthLess(session: FetchSession, privileged: boolean, size: number): boolean {
  return session.privileged === privileged ? session.size < size : privileged;
}

function isLess(left: FetchSession, right: FetchSession): boolean {
  if (left.privileged !== right.privileged) return !left.privileged;
  return left.size === right.size ? left.id < right.id : left.size < right.size;
}
