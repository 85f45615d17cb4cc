"""Transactions of librdkafka, which speaks version 1; prints one JSON object of counts."""

import json
import sys
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

READ_S_MAX = 20
flags = dict(zip([name[2:] for name in sys.argv[1::2]], sys.argv[2::2]))
bootstrap, topic = flags["bootstrap"], flags["topic"]
PARTITIONS = 3


def producer(name):
    return Producer({"bootstrap.servers": bootstrap, "transactional.id": name})


def consumer(isolation, group):
    return Consumer({
        "bootstrap.servers": bootstrap,
        "group.id": group,
        "isolation.level": isolation,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
    })


def read(name, partitions, isolation, expected):
    """Until as many as expected are there and one more look brings nothing."""
    reader = consumer(isolation, "reader-" + topic)
    reader.assign([TopicPartition(name, index, 0) for index in range(partitions)])
    values = []
    deadline = time.monotonic() + READ_S_MAX
    while time.monotonic() < deadline:
        records = [one for one in reader.consume(100, 0.3) if not one.error()]
        if not records and len(values) >= expected:
            break
        values += [one.value() for one in records]
    reader.close()
    return values


def move(writer, count):
    """Consume, transform, produce: the first round is aborted and done again."""
    reader = consumer("read_committed", "g-" + topic)
    reader.subscribe([topic])
    moved, aborts = 0, True
    deadline = time.monotonic() + READ_S_MAX
    while moved < count and time.monotonic() < deadline:
        records = [one for one in reader.consume(100, 0.3) if not one.error()]
        if not records:
            continue
        writer.begin_transaction()
        for record in records:
            writer.produce(topic + "-out", record.value(), partition=0)
        offsets = reader.position(reader.assignment())
        writer.send_offsets_to_transaction(offsets, reader.consumer_group_metadata(), 10)
        if not aborts:
            writer.commit_transaction(10)
            moved += len(records)
            continue
        aborts = False
        writer.abort_transaction(10)
        for at in reader.committed(reader.assignment()):
            reader.seek(TopicPartition(at.topic, at.partition, max(at.offset, 0)))
    reader.close()
    return moved


told = {}
first = producer("python-" + topic)
first.init_transactions(20)
for number in range(20):
    first.begin_transaction()
    for index in range(PARTITIONS):
        first.produce(topic, b"v%d" % number, partition=index)
    if number % 2 == 0:
        first.commit_transaction(20)
    else:
        first.flush(20)
        first.abort_transaction(20)
told["committed"] = len(read(topic, PARTITIONS, "read_committed", 30))
told["uncommitted"] = len(read(topic, PARTITIONS, "read_uncommitted", 60))
first.begin_transaction()
first.produce(topic, b"fenced", partition=0)
first.flush(20)
second = producer("python-" + topic)
second.init_transactions(20)
try:
    first.produce(topic, b"late", partition=0)
    first.commit_transaction(20)
    told["fenced"] = False
except KafkaException:
    told["fenced"] = True
told["moved"] = move(second, 30)
told["out"] = len(read(topic + "-out", 1, "read_committed", 30))
print(json.dumps(told))
