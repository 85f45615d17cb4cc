import { noAnswer, saysWhy, unknownError } from "./accepted-forms.ts";
import { type Accepted, absent } from "./differences.ts";

const refusedGroups =
  /^\{"groupId":"(gr-j|gr-ids|of-g|mg-meta|to-g5|to-g5-other)","protocolType":"",/;

/** Of coordinators and of groups of all kinds. */
const groups: readonly Accepted[] = [
  {
    where: /^coordinator: FindCoordinator v[36] type 1$/,
    why: "chronik's topic of transactions is there at once",
    differs: [
      ["errorCode", "COORDINATOR_NOT_AVAILABLE", "NONE"],
      ["nodeId", -1, 1],
      ["host", "", "<host>"],
      ["port", -1, "<port>"],
      ["coordinators[].errorCode", "COORDINATOR_NOT_AVAILABLE", "NONE"],
      ["coordinators[].nodeId", -1, 1],
      ["coordinators[].host", "", "<host>"],
      ["coordinators[].port", -1, "<port>"],
    ],
    sometimes: true,
  },
  {
    where: /FindCoordinator v[456] ((type|keyType) 2|share partition, .*)$/,
    why: "chronik says why",
    differs: [["coordinators[].errorMessage", "", "<text>"]],
  },
  {
    where: /ListGroups v\d /,
    why: "Kafka makes a group of a refused join, and keeps one without members and offsets a while",
    differs: [["groups[]", refusedGroups, absent]],
  },
  {
    where: /^offsets: (OffsetDelete v0 delete of-g|DescribeGroups v6 groups)/,
    why: "a group without members and offsets is gone at once",
    differs: [
      ["topics[].partitions (order)", absent, absent],
      ["errorCode", "NONE", "GROUP_ID_NOT_FOUND"],
      ["topics[]", /^\{"name":"of-none",/, absent],
      ["groups[].errorCode", "NONE", "GROUP_ID_NOT_FOUND"],
      saysWhy("groups[].errorMessage"),
      ["groups[].groupState", "Empty", "Dead"],
    ],
  },
  {
    where: /^consumer-group-members: OffsetFetch v9 (member|nobody)$/,
    why: "partitions in the order of their commits",
    differs: [["groups[].topics[].partitions (order)", absent, absent]],
  },
  {
    where: /^group-metadata: OffsetFetch v7 then( again)?$/,
    why: "partitions in the order of their commits",
    differs: [["topics[].partitions (order)", absent, absent]],
  },
  {
    where: /^transaction-offsets: DeleteGroups v2 open/,
    why: "a group is there from its first offset on, not while its transaction is open",
    differs: [["results[].errorCode", "NONE", "GROUP_ID_NOT_FOUND"]],
  },
  {
    where: /^transaction-long-ids: InitProducerId v4 20000 characters$/,
    why: "what clients can make grow has a limit",
    differs: [
      ["errorCode", "NONE", "INVALID_REQUEST"],
      ["producerId", "<producer 2>", -1],
      ["producerEpoch", 0, -1],
    ],
  },
  {
    where: /^consumer-group-classic: ConsumerGroupHeartbeat v1 upgrade$/,
    why: "Kafka gives free partitions to members in the order of a hash map",
    differs: [
      ["assignment.topicPartitions[].partitions[]", 0, 2],
      ["assignment.topicPartitions[].partitions[]", 1, 3],
    ],
    sometimes: true,
  },
  {
    where: /JoinGroup v\d protocols\[\]\.name empty$/,
    why: "an empty name stays a name",
    differs: [["protocolName", null, ""]],
  },
  {
    where: /WriteTxnMarkers v2 .*transactionVersion -?\d+$/,
    why: "Kafka fails",
    differs: [["markers[].topics[].partitions[].errorCode", unknownError, "UNSUPPORTED_VERSION"]],
  },
  {
    where: /^sweep 27: WriteTxnMarkers v\d markers(\[\]\.topics(\[\]\.\w+)?)? (twice|none)$/,
    why: "answered in the shape of the request, what is named twice is answered twice",
    differs: [
      ["markers[]", absent, /^\{"producerId":-1,"topics":\[/],
      ["markers[].topics[]", absent, /^\{"name":"sweep-27","partitions":\[/],
      ["markers[].topics[].partitions[]", absent, /^\{"partitionIndex":0,"errorCode":/],
    ],
  },
];

const shares: readonly Accepted[] = [
  {
    where: /(ShareFetch|ShareAcknowledge|ShareGroupHeartbeat) v\d /,
    why: "chronik says why",
    differs: [saysWhy("errorMessage")],
  },
  {
    where: /ShareGroupDescribe v\d /,
    why: "chronik says why",
    differs: [saysWhy("groups[].errorMessage")],
  },
  {
    where: /^share-\w+: Share(Fetch|Acknowledge) v1 /,
    why: "chronik says why",
    differs: [
      saysWhy("responses[].partitions[].errorMessage"),
      saysWhy("responses[].partitions[].acknowledgeErrorMessage"),
    ],
  },
  {
    where: /^share-sessions: ShareFetch v1 (unknown topic id|zero topic id|unknown index|forgets)$/,
    why: "Kafka fails as a whole; chronik says which partitions are not there",
    differs: [
      ["errorCode", unknownError, "NONE"],
      ["acquisitionLockTimeoutMs", 0, 30_000],
      ["responses[]", absent, /"partitionIndex":0,"errorCode":"UNKNOWN_TOPIC_ID"/],
      ["responses[]", absent, /"partitionIndex":9,"errorCode":"UNKNOWN_TOPIC_OR_PARTITION"/],
    ],
  },
  {
    where: /^share-heartbeats: ShareGroup(Heartbeat|Describe) v1 /,
    why: "partitions are assigned with the first join; Kafka waits for their state",
    differs: [
      ["assignment.topicPartitions[]", absent, '{"topicId":"<topic 1>","partitions":[0,1]}'],
      [
        "groups[].members[].assignment.topicPartitions[]",
        absent,
        '{"topicId":"<topic 1>","topicName":"sh-b","partitions":[0,1]}',
      ],
    ],
  },
  {
    where: /^share-heartbeats: ShareGroup(Heartbeat|Describe) v1 /,
    why: "Kafka begins another epoch with the state of partitions; who gets which is of its hashes",
    differs: [
      ["assignment.topicPartitions[].partitions[]", 0, 1],
      ["assignment.topicPartitions[].partitions[]", 1, 0],
      ["groups[].members[].assignment.topicPartitions[].partitions[]", 0, 1],
      ["groups[].members[].assignment.topicPartitions[].partitions[]", 1, 0],
      ["memberEpoch", 4, 3],
      ["groups[].groupEpoch", 4, 3],
      ["groups[].groupEpoch", 7, 6],
      ["groups[].assignmentEpoch", 4, 3],
      ["groups[].members[].memberEpoch", 4, 3],
    ],
    sometimes: true,
  },
  {
    where: /^sweep 90: DescribeShareGroupOffsets v\d groups\[\]\.topics(\[\]\.partitions)? twice$/,
    why: "what is named twice is answered twice",
    differs: [
      ["groups[].topics[]", absent, /^\{"topicName":"sweep-90",.*"startOffset":-1,/],
      ["groups[].topics[].partitions[]", absent, /^\{"partitionIndex":0,"startOffset":-1,/],
    ],
  },
  {
    where: /^sweep 90: DescribeShareGroupOffsets v\d groups\[\]\.topics\[\]\.partitions none$/,
    why: "Kafka fails",
    differs: [
      ["groups[].errorCode", unknownError, "NONE"],
      ["groups[].errorMessage", "<text>", null],
      ["groups[].topics[]", absent, /^\{"topicName":"sweep-90",.*"partitions":\[\]\}$/],
    ],
  },
  {
    where: /^sweep 91: AlterShareGroupOffsets v0 topics twice$/,
    why: "a topic named twice is answered twice",
    differs: [
      ["responses[]", /"partitions":\[\{"partitionIndex":0,.*\{"partitionIndex":0,/, absent],
      ["responses[]", absent, /"partitions":\[\{"partitionIndex":0,[^{]*$/],
    ],
  },
  {
    where: /DescribeShareGroupOffsets v\d groups\[\]\.(groupId empty|topics\[\]\.partitions \[)/,
    why: "Kafka never answers about partitions that are not there, or fails without a code",
    differs: [
      ["answer", noAnswer, /"errorCode":"NONE"/],
      ["groups[].errorCode", unknownError, "NONE"],
      ["groups[].errorMessage", "<text>", null],
      ["groups[].topics[]", absent, /^\{"topicName":"sweep-90",.*"startOffset":-1,/],
    ],
  },
  {
    where: /AlterShareGroupOffsets v\d topics\[\]\.partitions\[\]\.partitionIndex -/,
    why: "Kafka fails",
    differs: [
      ["errorCode", unknownError, "NONE"],
      ["errorMessage", "<text>", null],
      ["responses[]", absent, /"partitionIndex":-\d+,"errorCode":"UNKNOWN_TOPIC_OR_PARTITION"/],
    ],
  },
];

/** The part of `accepted` that is about coordinators and their groups. */
export const acceptedOfGroups: readonly Accepted[] = [...groups, ...shares];
