"""aiokafka over its public API: no flexible version at all, the oldest ones everywhere."""

import asyncio
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../python"))

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import ProducerFenced, TopicAlreadyExistsError
from harness import bootstrap, report, unique

servers = bootstrap()
cases = []


def case(name):
    def add(body):
        cases.append((name, body))
        return body

    return add


async def with_admin(body):
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        return await body(admin)
    finally:
        await admin.close()


async def new_topic(partitions=1):
    topic = unique("topic")
    await with_admin(lambda admin: admin.create_topics([NewTopic(topic, partitions, 1)]))
    return topic


async def send(topic, values, **config):
    async with AIOKafkaProducer(bootstrap_servers=servers, **config) as producer:
        for value in values:
            await producer.send_and_wait(topic, value, partition=0)


def consumer(*topics, **config):
    defaults = {"bootstrap_servers": servers, "auto_offset_reset": "earliest"}
    return AIOKafkaConsumer(*topics, **{**defaults, **config})


async def read(topic, count, **config):
    async with consumer(topic, **config) as one:
        return [await asyncio.wait_for(one.getone(), 30) for _ in range(count)]


def values(messages):
    return [message.value for message in messages]


def numbered(count):
    return [f"v{i}".encode() for i in range(count)]


for codec in [None, "gzip", "snappy", "lz4", "zstd"]:

    @case(f"produce: {codec or 'none'}")
    async def _(codec=codec):
        topic = await new_topic()
        await send(topic, numbered(50), compression_type=codec)
        assert values(await read(topic, 50)) == numbered(50)


for acks in [0, 1, "all"]:

    @case(f"produce: acks {acks}")
    async def _(acks=acks):
        topic = await new_topic()
        await send(topic, numbered(5), acks=acks)
        assert len(await read(topic, 5)) == 5


@case("produce: idempotent, headers, timestamps, null")
async def _():
    topic = await new_topic()
    async with AIOKafkaProducer(bootstrap_servers=servers, enable_idempotence=True) as producer:
        headers = [("h", b"1"), ("h", b"2")]
        sent = await producer.send_and_wait(
            topic, None, key=b"k", headers=headers, timestamp_ms=1700000000123
        )
        assert sent.offset == 0
    [message] = await read(topic, 1)
    assert (message.key, message.value) == (b"k", None)
    assert list(message.headers) == headers and message.timestamp == 1700000000123


@case("consume: offsets, seeks, times")
async def _():
    topic = await new_topic()
    partition = TopicPartition(topic, 0)
    await send(topic, numbered(10))
    async with consumer() as one:
        one.assign([partition])
        assert await one.beginning_offsets([partition]) == {partition: 0}
        assert await one.end_offsets([partition]) == {partition: 10}
        found = await one.offsets_for_times({partition: int(time.time() * 1000) - 3_600_000})
        assert found[partition].offset == 0
        one.seek(partition, 7)
        assert (await asyncio.wait_for(one.getone(), 30)).value == b"v7"
        await one.seek_to_beginning(partition)
        assert (await asyncio.wait_for(one.getone(), 30)).value == b"v0"
        one.pause(partition)
        assert one.paused() == {partition}
        one.resume(partition)


@case("group: commits are where the next member starts")
async def _():
    topic = await new_topic()
    group = unique("group")
    await send(topic, numbered(5))
    partition = TopicPartition(topic, 0)
    async with consumer(topic, group_id=group, enable_auto_commit=False) as one:
        await asyncio.wait_for(one.getone(), 30)
        await one.commit({partition: (3, "note")})
        assert await one.committed(partition) == 3
    [message] = await read(topic, 1, group_id=group)
    assert message.offset == 3
    offsets = await with_admin(lambda admin: admin.list_consumer_group_offsets(group))
    assert offsets[partition].offset >= 3


@case("group: two members share, and one takes over")
async def _():
    topic = await new_topic(4)
    config = {"group_id": unique("group"), "session_timeout_ms": 6000, "heartbeat_interval_ms": 300}
    members = [consumer(topic, **config) for _ in range(2)]
    await asyncio.gather(*(one.start() for one in members))

    async def owning(counts):
        deadline = time.monotonic() + 40
        while sorted(len(one.assignment()) for one in members) != counts:
            assert time.monotonic() < deadline, [one.assignment() for one in members]
            await asyncio.gather(*(one.getmany(timeout_ms=100) for one in members))

    await owning([2, 2])
    await members.pop().stop()
    await owning([4])
    await members.pop().stop()


@case("group: listed and described")
async def _():
    topic = await new_topic()
    group = unique("group")
    async with consumer(topic, group_id=group) as one:
        await one.getmany(timeout_ms=500)

        async def look(admin):
            listed = await admin.list_consumer_groups()
            assert group in [entry[0] for entry in listed]
            [response] = await admin.describe_consumer_groups([group])
            [found] = response.groups
            assert found[1] == group and len(found[5]) == 1, found

        await with_admin(look)


@case("admin: topics, partitions, configs, cluster")
async def _():
    topic = await new_topic()

    async def look(admin):
        again = await admin.create_topics([NewTopic(topic, 1, 1)])
        assert again.topic_errors[0][1] == TopicAlreadyExistsError.errno
        await admin.create_partitions({topic: NewPartitions(3)})
        [described] = await admin.describe_topics([topic])
        assert len(described["partitions"]) == 3
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, {"retention.ms": "321"})
        await admin.alter_configs([resource])
        [response] = await admin.describe_configs(
            [ConfigResource(ConfigResourceType.TOPIC, topic)]
        )
        entries = {entry[0]: entry[1] for entry in response.resources[0][4]}
        assert entries["retention.ms"] == "321"
        assert len((await admin.describe_cluster())["brokers"]) == 1
        await admin.delete_topics([topic])
        assert topic not in await admin.list_topics()

    await with_admin(look)


@case("admin: records deleted")
async def _():
    topic = await new_topic()
    await send(topic, numbered(5))
    from aiokafka.admin import RecordsToDelete

    partition = TopicPartition(topic, 0)
    records = {partition: RecordsToDelete(before_offset=2)}
    deleted = await with_admin(lambda admin: admin.delete_records(records))
    assert deleted[partition] == 2, deleted
    assert (await read(topic, 1))[0].offset == 2


@case("txn: committed is read, aborted is not")
async def _():
    topic = await new_topic()
    name = unique("txn")
    async with AIOKafkaProducer(bootstrap_servers=servers, transactional_id=name) as producer:
        for value, commit in [(b"a", True), (b"b", False), (b"c", True)]:
            await producer.begin_transaction()
            await producer.send_and_wait(topic, value, partition=0)
            await (producer.commit_transaction() if commit else producer.abort_transaction())
    committed = await read(topic, 2, isolation_level="read_committed")
    assert values(committed) == [b"a", b"c"]
    assert values(await read(topic, 3)) == [b"a", b"b", b"c"]


@case("txn: consumed offsets are part of it")
async def _():
    topic = await new_topic()
    group = unique("group")
    await send(topic, numbered(5))
    partition = TopicPartition(topic, 0)
    async with consumer(topic, group_id=group, enable_auto_commit=False) as one:
        await asyncio.wait_for(one.getone(), 30)
        name = unique("txn")
        async with AIOKafkaProducer(bootstrap_servers=servers, transactional_id=name) as producer:
            async with producer.transaction():
                await producer.send(topic, b"made", partition=0)
                await producer.send_offsets_to_transaction({partition: 4}, group)
        # Asks in a version that does not wait for the markers, which follow the answer of the commit.
        async with asyncio.timeout(30):
            while await one.committed(partition) != 4:
                pass


@case("txn: a second producer fences the first")
async def _():
    topic = await new_topic()
    name = unique("txn")
    first = AIOKafkaProducer(bootstrap_servers=servers, transactional_id=name)
    second = AIOKafkaProducer(bootstrap_servers=servers, transactional_id=name)
    await first.start()
    await first.begin_transaction()
    await first.send_and_wait(topic, b"lost", partition=0)
    await second.start()
    fenced = False
    try:
        await first.send_and_wait(topic, b"late", partition=0)
        await first.commit_transaction()
    except ProducerFenced:
        fenced = True
    assert fenced
    await second.stop()
    await first.stop()


async def main():
    for name, body in cases:
        try:
            await asyncio.wait_for(body(), 60)
            report(name)
        except Exception as error:
            report(name, error)


asyncio.run(main())
