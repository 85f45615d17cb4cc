import { WireClient } from "../../src/client/wire-client.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { ErrorCode, errorName } from "../../src/protocol/error-code.ts";
import { joinGroupApi } from "../../src/protocol/messages/11-join-group.ts";
import { heartbeatApi } from "../../src/protocol/messages/12-heartbeat.ts";
import { leaveGroupApi } from "../../src/protocol/messages/13-leave-group.ts";
import { syncGroupApi } from "../../src/protocol/messages/14-sync-group.ts";
import { consumerGroupHeartbeatApi } from "../../src/protocol/messages/68-consumer-group-heartbeat.ts";
import { consumerProtocolAssignmentData } from "../../src/protocol/messages/data-consumer-protocol-assignment.ts";
import { consumerProtocolSubscriptionData } from "../../src/protocol/messages/data-consumer-protocol-subscription.ts";
import { Reader } from "../../src/protocol/reader.ts";
import { newUuid } from "../../src/protocol/uuid.ts";
import { Writer } from "../../src/protocol/writer.ts";

/** Members of one group as far as the group can see them: they join, heartbeat, hold partitions. */

export interface SimulatedGroup {
  readonly port: number;
  readonly groupId: string;
  readonly topic: string;
  readonly partitions: number;
  readonly sessionTimeoutMs: number;
  readonly heartbeatMs: number;
  readonly ledger: OwnershipLedger;
}

/** Who holds which partition, from the members' own point of view. */
export class OwnershipLedger {
  readonly violations: string[] = [];
  private readonly owners = new Map<number, SimulatedMember>();
  private readonly sessionTimeoutMs: number;

  constructor(sessionTimeoutMs: number) {
    this.sessionTimeoutMs = sessionTimeoutMs;
  }

  claim(member: SimulatedMember, partition: number): void {
    const owner = this.owners.get(partition);
    if (owner !== undefined && owner !== member && !this.isGone(owner)) {
      this.violations.push(
        `${member.name} was given ${partition}, which ${owner.name} holds ` +
          `(last heard of ${Math.round(performance.now() - owner.lastSentMs)} ms ago)`,
      );
    }
    this.owners.set(partition, member);
  }

  release(member: SimulatedMember, partition: number): void {
    if (this.owners.get(partition) === member) this.owners.delete(partition);
  }

  /** Partitions by owner, dead ones included. */
  held(): ReadonlyMap<number, SimulatedMember> {
    return this.owners;
  }

  /** A silent member holds its partitions until its session must have ended. */
  private isGone(member: SimulatedMember): boolean {
    return performance.now() - member.lastSentMs >= this.sessionTimeoutMs;
  }
}

export abstract class SimulatedMember {
  readonly name: string;
  readonly owned = new Set<number>();
  isDead = false;
  /** When its last request left. */
  lastSentMs = 0;
  protected readonly group: SimulatedGroup;
  protected client: WireClient | null = null;
  private running: Promise<void> | null = null;
  private wake: (() => void) | null = null;
  protected isLeaving = false;

  constructor(group: SimulatedGroup, name: string) {
    this.group = group;
    this.name = name;
  }

  start(): void {
    this.running = this.run();
  }

  /** Says that it goes, and gives up everything. */
  async leave(): Promise<void> {
    this.isLeaving = true;
    this.wake?.();
    await this.running;
  }

  /** Goes silent in the middle of whatever it does. */
  kill(): void {
    this.isDead = true;
    this.client?.close();
    this.wake?.();
  }

  /** One request and what follows from it; resolves with how long to wait before the next. */
  protected abstract turn(client: WireClient): Promise<number>;
  protected abstract sayGoodbye(client: WireClient): Promise<void>;

  protected own(partitions: ReadonlySet<number>): void {
    for (const partition of [...this.owned]) {
      if (!partitions.has(partition)) this.drop(partition);
    }
    for (const partition of partitions) {
      if (this.owned.has(partition)) continue;
      this.owned.add(partition);
      this.group.ledger.claim(this, partition);
    }
  }

  protected dropAll(): void {
    this.own(new Set());
  }

  private drop(partition: number): void {
    this.owned.delete(partition);
    this.group.ledger.release(this, partition);
  }

  private async run(): Promise<void> {
    while (!this.isDead) {
      try {
        this.client ??= await this.connect();
        if (this.isLeaving) {
          this.dropAll();
          await this.sayGoodbye(this.client);
          this.client.close();
          return;
        }
        this.lastSentMs = performance.now();
        const pauseMs = await this.turn(this.client);
        if (pauseMs > 0) await this.pause(pauseMs);
      } catch (error) {
        if (this.isDead) return;
        // The broker was away: go on with what is held.
        this.client?.close();
        this.client = null;
        if (this.isLeaving) throw error;
        await this.pause(50);
      }
    }
  }

  private connect(): Promise<WireClient> {
    const { port } = this.group;
    return WireClient.connect({ host: "127.0.0.1", port, clientId: this.name });
  }

  private async pause(delayMs: number): Promise<void> {
    if (this.isDead || this.isLeaving) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.wake = resolve;
    const timer = systemClock.schedule(delayMs, resolve);
    await promise;
    timer.cancel();
    this.wake = null;
  }
}

/** A member that speaks the consumer protocol (KIP-848). */
export class ConsumerMember extends SimulatedMember {
  private readonly memberId = newUuid();
  private epoch = 0;
  /** What it holds was not told yet. */
  private mustReport = true;
  private topicId = "";

  protected async turn(client: WireClient): Promise<number> {
    const { groupId, topic, heartbeatMs } = this.group;
    const joins = this.epoch === 0;
    const reports = joins || this.mustReport;
    const partitions = [...this.owned];
    const held = partitions.length > 0 ? [{ topicId: this.topicId, partitions }] : [];
    this.mustReport = false;
    const answer = await client.request(consumerGroupHeartbeatApi, 1, {
      groupId,
      memberId: this.memberId,
      memberEpoch: this.epoch,
      ...(joins ? { rebalanceTimeoutMs: 30_000, subscribedTopicNames: [topic] } : {}),
      topicPartitions: reports ? held : null,
    });
    if (this.isDead) return 0;
    switch (answer.errorCode) {
      case ErrorCode.NONE:
        break;
      case ErrorCode.FENCED_MEMBER_EPOCH:
      case ErrorCode.UNKNOWN_MEMBER_ID:
        this.dropAll();
        [this.epoch, this.mustReport] = [0, true];
        return 0;
      case ErrorCode.COORDINATOR_NOT_AVAILABLE:
      case ErrorCode.COORDINATOR_LOAD_IN_PROGRESS:
      case ErrorCode.NOT_COORDINATOR:
        this.mustReport = true;
        return 50;
      default:
        throw new Error(`${this.name}: ${errorName(answer.errorCode)} ${answer.errorMessage}`);
    }
    this.epoch = answer.memberEpoch;
    if (answer.assignment === null) return heartbeatMs;
    const target = new Set<number>();
    for (const one of answer.assignment.topicPartitions) {
      this.topicId = one.topicId;
      for (const partition of one.partitions) target.add(partition);
    }
    const before = [...this.owned].sort().join();
    this.own(target);
    this.mustReport = [...this.owned].sort().join() !== before;
    return this.mustReport ? 0 : heartbeatMs;
  }

  protected async sayGoodbye(client: WireClient): Promise<void> {
    if (this.epoch === 0) return;
    const { groupId } = this.group;
    const leave = { groupId, memberId: this.memberId, memberEpoch: -1 };
    await client.request(consumerGroupHeartbeatApi, 1, leave);
  }
}

/** A member that speaks the classic protocol, the eager way: it gives up all before it rejoins. */
export class ClassicMember extends SimulatedMember {
  private memberId = "";
  private generationId = -1;
  private hasJoined = false;

  protected async turn(client: WireClient): Promise<number> {
    if (!this.hasJoined) return await this.join(client);
    const { groupId, heartbeatMs } = this.group;
    const { memberId, generationId } = this;
    const request = { groupId, memberId, generationId };
    const { errorCode } = await client.request(heartbeatApi, 4, request);
    if (this.isDead || errorCode === ErrorCode.NONE) return heartbeatMs;
    return this.recover(errorCode);
  }

  protected async sayGoodbye(client: WireClient): Promise<void> {
    if (this.memberId === "") return;
    const { groupId } = this.group;
    const members = [{ memberId: this.memberId, groupInstanceId: null }];
    await client.request(leaveGroupApi, 5, { groupId, members });
  }

  private async join(client: WireClient): Promise<number> {
    const { groupId, topic, sessionTimeoutMs } = this.group;
    const joined = await client.request(joinGroupApi, 9, {
      groupId,
      sessionTimeoutMs,
      rebalanceTimeoutMs: 30_000,
      memberId: this.memberId,
      protocolType: "consumer",
      protocols: [{ name: "range", metadata: subscription(topic) }],
    });
    if (this.isDead) return 0;
    if (joined.memberId !== "") this.memberId = joined.memberId;
    if (joined.errorCode === ErrorCode.MEMBER_ID_REQUIRED) return 0;
    if (joined.errorCode !== ErrorCode.NONE) return this.recover(joined.errorCode);
    this.generationId = joined.generationId;
    this.lastSentMs = performance.now();
    const leads = joined.leader === joined.memberId && joined.members.length > 0;
    const members = joined.members.map(({ memberId }) => memberId).sort();
    const synced = await client.request(syncGroupApi, 5, {
      groupId,
      generationId: this.generationId,
      memberId: this.memberId,
      protocolType: "consumer",
      protocolName: "range",
      assignments: leads ? this.assign(members) : [],
    });
    if (this.isDead) return 0;
    if (synced.errorCode !== ErrorCode.NONE) return this.recover(synced.errorCode);
    this.hasJoined = true;
    this.own(assigned(synced.assignment));
    return this.group.heartbeatMs;
  }

  private recover(errorCode: number): number {
    this.dropAll();
    this.hasJoined = false;
    switch (errorCode) {
      case ErrorCode.REBALANCE_IN_PROGRESS:
      case ErrorCode.ILLEGAL_GENERATION:
        return 0;
      case ErrorCode.UNKNOWN_MEMBER_ID:
        this.memberId = "";
        return 0;
      case ErrorCode.COORDINATOR_NOT_AVAILABLE:
      case ErrorCode.COORDINATOR_LOAD_IN_PROGRESS:
      case ErrorCode.NOT_COORDINATOR:
        return 50;
      default:
        throw new Error(`${this.name}: ${errorName(errorCode)}`);
    }
  }

  private assign(members: readonly string[]) {
    const { topic, partitions } = this.group;
    return members.map((memberId, index) => {
      const mine: number[] = [];
      for (let one = index; one < partitions; one += members.length) mine.push(one);
      const writer = new Writer();
      writer.int16(0);
      const assignedPartitions = mine.length > 0 ? [{ topic, partitions: mine }] : [];
      consumerProtocolAssignmentData.encode(writer, { assignedPartitions, userData: null }, 0);
      return { memberId, assignment: writer.bytesWritten() };
    });
  }
}

function subscription(topic: string): Uint8Array {
  const writer = new Writer();
  writer.int16(1);
  const message = { topics: [topic], userData: null, ownedPartitions: [] };
  consumerProtocolSubscriptionData.encode(writer, message, 1);
  return writer.bytesWritten();
}

function assigned(bytes: Uint8Array): Set<number> {
  if (bytes.length === 0) return new Set();
  const reader = new Reader(bytes);
  const message = consumerProtocolAssignmentData.decode(reader, reader.int16());
  return new Set(message.assignedPartitions.flatMap(({ partitions }) => partitions));
}
