import type { ClientMetrics } from "../client-metrics/client-metrics.ts";
import type { Config } from "../config.ts";
import type { FetchSessions } from "../fetch/fetch-sessions.ts";
import type { GroupCoordinator } from "../group/coordinator.ts";
import type { Clock } from "../lib/clock.ts";
import type { Partitions } from "../log/partitions.ts";
import type { Metadata } from "../metadata/controller.ts";
import type { ProducerIds } from "../metadata/producer-ids.ts";
import type { ApiCodec, Decoded } from "../protocol/api-codec.ts";
import type { RequestHeader } from "../protocol/header.ts";
import type { ClientQuotas, QuotaClient } from "../quota/client-quotas.ts";
import type { ShareGroups } from "../share/share-groups.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { TransactionCoordinator } from "../transaction/coordinator.ts";

/** What one connection is known by; lives as long as the connection. */
export interface Session {
  readonly id: number;
  readonly listener: string;
  /** The peer's address as Kafka prints it: "/127.0.0.1". */
  readonly clientHost: string;
  /** The peer's port. */
  readonly clientPort: number;
  /** From the newest request's header; empty where the client sent none. */
  clientId: string;
  /** From ApiVersions v3+; empty until sent. */
  softwareName: string;
  softwareVersion: string;
}

/** The rooms a handler may use; built once by broker.ts. No globals. */
export interface Services {
  readonly config: Config;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly metadata: Metadata;
  readonly partitions: Partitions;
  readonly fetchSessions: FetchSessions;
  readonly groups: GroupCoordinator;
  readonly shares: ShareGroups;
  readonly producerIds: ProducerIds;
  readonly transactions: TransactionCoordinator;
  readonly quotas: ClientQuotas;
  readonly clientMetrics: ClientMetrics;
}

/** What a handler gets beside the decoded request. */
export interface RequestContext {
  readonly session: Session;
  readonly header: RequestHeader;
  readonly services: Services;
  /** Aborted when the connection is gone or the broker drains: parked requests give up. */
  readonly signal: AbortSignal;
  /** Whose quotas hold. */
  readonly client: QuotaClient;
  /** Size of the request, its header included. */
  readonly requestBytes: number;
  /** Time of the event loop that the request took so far, in milliseconds. */
  workMs(): number;
  /** The connection is left unread for so long after the answer, which tells it; of several the
   * longest counts. */
  throttle(throttleMs: number): void;
  /** The answer holds records of archives: where others read new ones, it leaves in small steps. */
  giveWay(): void;
}

/** One Kafka API. The range served may be narrower than what the codec can parse: ApiVersions is
 * derived from the table of handlers (design D13). */
export interface ApiHandler<Req, Res> {
  readonly codec: ApiCodec<Req, Res>;
  readonly minVersion: number;
  readonly maxVersion: number;
  /** Answered and not advertised: no client asks of its own accord. */
  readonly hidden?: true;
  /** The handler charges `request_percentage` itself; otherwise the router does. */
  readonly chargesItself?: true;
  /** `null`: no response is sent (Produce with acks=0). Runs synchronously up to its first await,
   * in request order of the connection. */
  handle(
    context: RequestContext,
    request: Decoded<Req>,
    version: number,
  ): Res | null | Promise<Res | null>;
  /** The whole-request error of this API, for a handler that broke; without it the connection
   * closes then. */
  failure?(request: Decoded<Req>, version: number, errorCode: number, message: string): Res | null;
}
