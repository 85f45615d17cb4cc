"""confluent-kafka (librdkafka) over its whole admin, producer, consumer and transaction surface."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../python"))

from confluent_kafka import (
    Consumer,
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    ConsumerGroupType,
    ElectionType,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourcePatternType,
    ResourceType,
    ScramMechanism,
    UserScramCredentialUpsertion,
    ScramCredentialInfo,
)
from harness import bootstrap, report, unique, until

servers = bootstrap()
admin = AdminClient({"bootstrap.servers": servers})
cases = []


def case(name):
    def add(body):
        cases.append((name, body))
        return body

    return add


def wait(futures):
    """The results of a call that gives a future for each resource."""
    return {key: future.result(30) for key, future in futures.items()}


def new_topic(partitions=1, **config):
    topic = unique("topic")
    wait(admin.create_topics([NewTopic(topic, partitions, 1, config=config)]))
    return topic


def producer(**config):
    return Producer({"bootstrap.servers": servers, "linger.ms": 5, **config})


def send(topic, values, partition=0, **config):
    failed = []
    one = producer(**config)
    for value in values:
        one.produce(
            topic,
            value=value,
            partition=partition,
            on_delivery=lambda error, _: failed.append(error) if error else None,
        )
    assert one.flush(30) == 0
    assert failed == [], failed


def consumer(**config):
    defaults = {"bootstrap.servers": servers, "auto.offset.reset": "earliest"}
    return Consumer({**defaults, "group.id": unique("group"), **config})


def read(topic, count, partition=None, **config):
    one = consumer(**config)
    if partition is None:
        one.subscribe([topic])
    else:
        one.assign([TopicPartition(topic, partition, 0)])
    seen = []

    def fetch():
        for message in one.consume(count - len(seen), 0.2):
            assert message.error() is None, message.error()
            seen.append(message)
        return len(seen) >= count

    until(f"{count} messages", fetch)
    one.close()
    return seen


def values(messages):
    return [message.value() for message in messages]


def numbered(count):
    return [f"v{i}".encode() for i in range(count)]


def error_code(call):
    try:
        call()
    except KafkaException as error:
        return error.args[0].code()
    return KafkaError.NO_ERROR


for codec in ["none", "gzip", "snappy", "lz4", "zstd"]:

    @case(f"produce: {codec}")
    def _(codec=codec):
        topic = new_topic()
        send(topic, numbered(500), **{"compression.type": codec})
        assert values(read(topic, 500, 0)) == numbered(500)


for acks in ["0", "1", "all"]:

    @case(f"produce: acks {acks}")
    def _(acks=acks):
        topic = new_topic()
        send(topic, numbered(10), acks=acks)
        assert len(read(topic, 10, 0)) == 10


@case("produce: idempotent")
def _():
    topic = new_topic()
    send(topic, numbered(1000), **{"enable.idempotence": True})
    assert values(read(topic, 1000, 0)) == numbered(1000)


@case("produce: headers, timestamps, null and empty")
def _():
    topic = new_topic()
    one = producer()
    headers = [("a", b"1"), ("a", None), ("b", b"")]
    one.produce(topic, key=b"k", value=None, headers=headers, timestamp=1700000000123)
    one.produce(topic, key=b"", value=b"")
    assert one.flush(30) == 0
    first, second = read(topic, 2, 0)
    assert (first.value(), first.headers()) == (None, headers)
    assert first.timestamp()[1] == 1700000000123
    assert (second.key(), second.value()) == (b"", b"")


@case("produce: a record too large is refused")
def _():
    topic = new_topic(**{"max.message.bytes": "1000"})
    errors = []
    one = producer()
    one.produce(topic, b"x" * 5000, on_delivery=lambda error, _: errors.append(error.code()))
    one.flush(30)
    assert errors == [KafkaError.MSG_SIZE_TOO_LARGE], errors


@case("produce: a topic comes into being when asked for")
def _():
    topic = unique("auto")
    send(topic, numbered(1), partition=-1)
    assert topic in admin.list_topics(timeout=10).topics


@case("consume: seek, position, watermarks, offsets by time")
def _():
    topic = new_topic()
    one = producer()
    for i in range(10):
        one.produce(topic, f"v{i}", timestamp=1000 * (i + 1))
    one.flush(30)
    other = consumer()
    assert other.get_watermark_offsets(TopicPartition(topic, 0), timeout=10) == (0, 10)
    [found] = other.offsets_for_times([TopicPartition(topic, 0, 4500)], timeout=10)
    assert found.offset == 4
    other.assign([TopicPartition(topic, 0, 8)])
    assert until("one", lambda: other.poll(0.2)).value() == b"v8"
    other.seek(TopicPartition(topic, 0, 2))
    assert until("one", lambda: other.poll(0.2)).value() == b"v2"
    assert other.position([TopicPartition(topic, 0)])[0].offset == 3
    other.close()


@case("consume: pause, resume, incremental assignment")
def _():
    topic = new_topic(2)
    send(topic, numbered(3), 0)
    send(topic, numbered(3), 1)
    one = consumer()
    one.incremental_assign([TopicPartition(topic, 0, 0)])
    seen = []

    def poll():
        message = one.poll(0.1)
        if message is not None:
            seen.append(message.partition())
        return seen

    until("three", lambda: len(poll()) == 3)
    one.pause([TopicPartition(topic, 0)])
    one.incremental_assign([TopicPartition(topic, 1, 0)])
    until("six", lambda: len(poll()) == 6)
    assert seen == [0, 0, 0, 1, 1, 1]
    one.resume([TopicPartition(topic, 0)])
    one.close()


def commits(protocol):
    def body():
        topic = new_topic(2)
        group = unique("group")
        send(topic, numbered(10), 0)
        config = {"group.id": group, "enable.auto.commit": False, "group.protocol": protocol}
        one = consumer(**config)
        one.subscribe([topic])
        message = until("one", lambda: one.poll(0.2))
        one.commit(offsets=[TopicPartition(topic, 0, 4, "note")], asynchronous=False)
        [committed] = one.committed([TopicPartition(topic, 0)], timeout=10)
        assert (committed.offset, committed.metadata) == (4, "note"), committed
        assert message.offset() == 0
        assert one.consumer_group_metadata() is not None
        one.close()
        two = consumer(**config)
        two.subscribe([topic])
        assert until("one", lambda: two.poll(0.2)).offset() == 4
        two.close()

    return body


case("group: commits with metadata, and resumes")(commits("classic"))
case("cgroup: commits with metadata, and resumes")(commits("consumer"))


def shares(protocol, assignor):
    def body():
        topic = new_topic(4)
        config = {"group.id": unique("group"), "group.protocol": protocol, **assignor}
        if protocol == "classic":
            config["session.timeout.ms"] = 6000
        members = [consumer(**config) for _ in range(2)]
        for one in members:
            one.subscribe([topic])

        def poll():
            for one in members:
                one.poll(0.05)
            owned = [[p.partition for p in one.assignment()] for one in members]
            return [len(part) for part in owned] == [2, 2] and sorted(sum(owned, [])) == [0, 1, 2, 3]

        until("two each", poll, 45)
        members.pop().close()

        def alone():
            members[0].poll(0.05)
            return len(members[0].assignment()) == 4

        until("the other takes over", alone, 45)
        members[0].close()

    return body


for name in ["range", "roundrobin", "cooperative-sticky"]:
    strategy = {"partition.assignment.strategy": name}
    case(f"group: two members, {name}")(shares("classic", strategy))
for name in ["uniform", "range"]:
    case(f"cgroup: two members, {name}")(shares("consumer", {"group.remote.assignor": name}))


def regex(protocol):
    def body():
        prefix = unique("regex")
        for i in range(2):
            wait(admin.create_topics([NewTopic(f"{prefix}-{i}", 1, 1)]))
            send(f"{prefix}-{i}", numbered(1))
        one = consumer(**{"group.protocol": protocol, "topic.metadata.refresh.interval.ms": 500})
        one.subscribe([f"^{prefix}-.*"])
        seen = set()

        def poll():
            message = one.poll(0.2)
            if message is not None and message.error() is None:
                seen.add(message.topic())
            return len(seen) == 2

        until("both topics", poll)
        one.close()

    return body


case("group: a subscription by pattern")(regex("classic"))
case("cgroup: a subscription by pattern")(regex("consumer"))


@case("group: listed, described, offsets listed and altered, deleted")
def _():
    topic = new_topic()
    group = unique("group")
    send(topic, numbered(3))
    one = consumer(**{"group.id": group})
    one.subscribe([topic])
    until("one", lambda: one.poll(0.2))
    described = wait(admin.describe_consumer_groups([group]))[group]
    assert described.state == ConsumerGroupState.STABLE, described.state
    assert len(described.members) == 1
    assert described.members[0].assignment.topic_partitions[0].topic == topic
    one.commit(asynchronous=False)
    one.close()
    listing = admin.list_consumer_groups(
        states={ConsumerGroupState.EMPTY}, types={ConsumerGroupType.CLASSIC}
    ).result(30)
    assert group in [entry.group_id for entry in listing.valid]
    asked = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0)])
    found = wait(admin.list_consumer_group_offsets([asked]))[group]
    assert found.topic_partitions[0].offset > 0
    altered = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0, 1)])
    wait(admin.alter_consumer_group_offsets([altered]))
    found = wait(admin.list_consumer_group_offsets([asked]))[group]
    assert found.topic_partitions[0].offset == 1
    wait(admin.delete_consumer_groups([group]))
    code = error_code(lambda: wait(admin.delete_consumer_groups([group])))
    assert code == KafkaError.GROUP_ID_NOT_FOUND, code


@case("admin: topics are created, described, grown, deleted")
def _():
    topic = new_topic(2)
    validate = admin.create_topics([NewTopic(unique("topic"), 1, 1)], validate_only=True)
    assert all(topic not in wait(validate) for topic in admin.list_topics(timeout=10).topics)
    code = error_code(lambda: wait(admin.create_topics([NewTopic(topic, 1, 1)])))
    assert code == KafkaError.TOPIC_ALREADY_EXISTS, code
    described = wait(admin.describe_topics(TopicCollection([topic])))[topic]
    assert len(described.partitions) == 2 and described.topic_id is not None
    wait(admin.create_partitions([NewPartitions(topic, 5)]))
    assert len(admin.list_topics(topic, timeout=10).topics[topic].partitions) == 5
    wait(admin.delete_topics([topic]))
    code = error_code(lambda: wait(admin.describe_topics(TopicCollection([topic]))))
    assert code == KafkaError.UNKNOWN_TOPIC_OR_PART, code


@case("admin: cluster")
def _():
    cluster = admin.describe_cluster(include_authorized_operations=True).result(30)
    assert cluster.cluster_id and len(cluster.nodes) == 1
    assert cluster.controller.id == cluster.nodes[0].id


@case("admin: configs described, altered one by one and as a whole")
def _():
    topic = new_topic()
    resource = ConfigResource(ResourceType.TOPIC, topic)
    resource.add_incremental_config(
        ConfigEntry("retention.ms", "1234", incremental_operation=AlterConfigOpType.SET)
    )
    append = ConfigEntry("cleanup.policy", "compact")
    append.incremental_operation = AlterConfigOpType.APPEND
    resource.add_incremental_config(append)
    wait(admin.incremental_alter_configs([resource]))
    [configs] = wait(admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)])).values()
    assert configs["retention.ms"].value == "1234"
    assert set(configs["cleanup.policy"].value.split(",")) == {"delete", "compact"}
    whole = ConfigResource(ResourceType.TOPIC, topic, set_config={"retention.ms": "77"})
    wait(admin.alter_configs([whole]))
    [configs] = wait(admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)])).values()
    assert configs["retention.ms"].value == "77"
    assert configs["cleanup.policy"].value == "delete"
    node = str(admin.list_topics(timeout=10).controller_id)
    [broker] = wait(admin.describe_configs([ConfigResource(ResourceType.BROKER, node)])).values()
    assert len(broker) > 20


@case("admin: offsets, records deleted")
def _():
    topic = new_topic()
    send(topic, numbered(10))
    partition = TopicPartition(topic, 0)
    wait(admin.delete_records([TopicPartition(topic, 0, 4)]))
    for spec, offset in [(OffsetSpec.earliest(), 4), (OffsetSpec.latest(), 10)]:
        [found] = wait(admin.list_offsets({partition: spec})).values()
        assert found.offset == offset, found.offset
    spec = {partition: OffsetSpec.max_timestamp()}
    committed = IsolationLevel.READ_COMMITTED
    [found] = wait(admin.list_offsets(spec, isolation_level=committed)).values()
    assert 4 <= found.offset < 10


@case("admin: leaders elected")
def _():
    topic = new_topic()
    elected = admin.elect_leaders(ElectionType.PREFERRED, [TopicPartition(topic, 0)]).result(30)
    [error] = elected.values()
    assert error is None or error.code() == KafkaError.ELECTION_NOT_NEEDED, error


@case("admin: ACLs answer that security is disabled")
def _():
    acl = AclBinding(
        ResourceType.TOPIC, "t", ResourcePatternType.LITERAL, "User:a", "*", AclOperation.READ,
        AclPermissionType.ALLOW,
    )
    code = error_code(lambda: wait(admin.create_acls([acl])))
    assert code == KafkaError.SECURITY_DISABLED, code


@case("admin: SCRAM users")
def _():
    user = unique("user")
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096)
    wait(admin.alter_user_scram_credentials([UserScramCredentialUpsertion(user, info, b"secret")]))
    described = admin.describe_user_scram_credentials([user])
    found = described[user].result(30) if isinstance(described, dict) else described.result(30)
    assert len(found.scram_credential_infos) == 1


@case("txn: committed is read, aborted is not")
def _():
    topic = new_topic()
    one = producer(**{"transactional.id": unique("txn")})
    one.init_transactions(30)
    for value, commit in [("a", True), ("b", False), ("c", True)]:
        one.begin_transaction()
        one.produce(topic, value, partition=0)
        one.flush(10)
        one.commit_transaction(30) if commit else one.abort_transaction(30)
    assert values(read(topic, 2, 0)) == [b"a", b"c"]
    level = {"isolation.level": "read_uncommitted"}
    assert values(read(topic, 3, 0, **level)) == [b"a", b"b", b"c"]


@case("txn: consumed offsets are part of it")
def _():
    topic = new_topic()
    group = unique("group")
    send(topic, numbered(5))
    one = consumer(**{"group.id": group, "enable.auto.commit": False})
    one.subscribe([topic])
    until("one", lambda: one.poll(0.2))
    made = producer(**{"transactional.id": unique("txn")})
    made.init_transactions(30)
    for offset, commit in [(3, True), (5, False)]:
        made.begin_transaction()
        made.produce(topic, b"made", partition=0)
        offsets = [TopicPartition(topic, 0, offset)]
        made.send_offsets_to_transaction(offsets, one.consumer_group_metadata(), 30)
        made.commit_transaction(30) if commit else made.abort_transaction(30)
    assert one.committed([TopicPartition(topic, 0)], timeout=10)[0].offset == 3
    one.close()


@case("txn: a second producer fences the first")
def _():
    topic = new_topic()
    name = {"transactional.id": unique("txn")}
    first = producer(**name)
    first.init_transactions(30)
    first.begin_transaction()
    first.produce(topic, b"lost", partition=0)
    first.flush(10)
    second = producer(**name)
    second.init_transactions(30)
    code = error_code(lambda: first.commit_transaction(30))
    assert code in (KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH), code
    second.begin_transaction()
    second.produce(topic, b"kept", partition=0)
    second.commit_transaction(30)
    assert values(read(topic, 1, 0)) == [b"kept"]


for name, body in cases:
    try:
        body()
        report(name)
    except Exception as error:
        report(name, error)
