"""confluent-kafka (librdkafka): produce|verify a topic a codec, or be a group member."""

import sys
import time

import confluent_kafka
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicPartition

import contract

CLIENT = "confluent-kafka"
VERSION = f"{confluent_kafka.__version__} (librdkafka {confluent_kafka.libversion()[0]})"


def produce(bootstrap, topic, codec, inputs):
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "acks": "all",
            "compression.type": codec,
            "linger.ms": 5,
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    offsets, errors = [None] * len(inputs), []

    def acknowledged(index):
        def on_delivery(error, message):
            if error is not None:
                errors.append(f"record {index}: {error}")
            else:
                offsets[index] = message.offset()

        return on_delivery

    for index, one in enumerate(inputs):
        while True:
            try:
                producer.produce(
                    topic,
                    key=one.key,
                    value=one.value,
                    headers=one.headers,
                    timestamp=one.timestamp,
                    partition=one.partition,
                    on_delivery=acknowledged(index),
                )
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    left = producer.flush(60)
    if left:
        errors.append(f"{left} records were not acknowledged in 60 s")
    count = sum(offset is not None for offset in offsets)
    return count, errors + contract.check_offsets(inputs, offsets, topic)


def verify(bootstrap, topic, inputs):
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"unused-{topic}",
            "enable.auto.commit": False,
            "check.crcs": True,
            "auto.offset.reset": "error",
        }
    )
    verifier = contract.Verifier(topic, inputs)
    partitions = sorted(consumer.list_topics(topic, timeout=30).topics[topic].partitions)
    ends = {
        p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=30)[1]
        for p in partitions
    }
    consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in partitions])
    last = time.monotonic()
    while any(verifier.next.get(p, 0) < ends[p] for p in partitions):
        messages = consumer.consume(5000, timeout=0.5)
        if messages:
            last = time.monotonic()
        elif time.monotonic() - last > contract.IDLE_SECS_MAX:
            verifier.mismatches.append(
                f"nothing arrived for {contract.IDLE_SECS_MAX} s before the end offsets"
            )
            break
        for message in messages:
            if message.error():
                raise KafkaException(message.error())
            verifier.check(
                message.partition(),
                message.offset(),
                message.key(),
                message.value(),
                message.headers(),
                message.timestamp()[1],
            )
    consumer.close()
    return verifier.count, verifier.mismatches


def member(flags):
    config = {
        "bootstrap.servers": flags["bootstrap"],
        "group.id": flags["group"],
        "client.id": flags["id"],
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
    }
    if flags["assignor"].startswith("consumer-"):
        config["group.protocol"] = "consumer"
        config["group.remote.assignor"] = flags["assignor"].removeprefix("consumer-")
    else:
        strategy = {"range": "range", "cooperative-sticky": "cooperative-sticky"}
        config["session.timeout.ms"] = int(flags["session-timeout-ms"])
        config["heartbeat.interval.ms"] = 500
        config["partition.assignment.strategy"] = strategy[flags["assignor"]]
    if "instance" in flags:
        config["group.instance.id"] = flags["instance"]
    consumer = Consumer(config)
    owned = set()

    def tell():
        contract.emit({"event": "assignment", "partitions": sorted(owned)})

    def on_assign(_, added):
        owned.update(tp.partition for tp in added)
        tell()

    def on_revoke(_, removed):
        owned.difference_update(tp.partition for tp in removed)
        tell()

    consumer.subscribe(
        [f"^{flags['regex']}" if "regex" in flags else flags["topic"]],
        on_assign=on_assign,
        on_revoke=on_revoke,
        on_lost=on_revoke,
    )
    stopping = contract.stop_on_end_of_input()
    while not stopping.is_set():
        spans = {}
        for message in consumer.consume(500, timeout=0.1):
            if message.error():
                raise KafkaException(message.error())
            first, _ = spans.get(message.partition(), (message.offset(), None))
            spans[message.partition()] = (first, message.offset())
        for partition, (first, last) in spans.items():
            contract.emit(
                {"event": "consumed", "partition": partition, "first": first, "last": last}
            )
        if not spans:
            continue
        positions = [TopicPartition(flags["topic"], p, last + 1) for p, (_, last) in spans.items()]
        try:
            consumer.commit(offsets=positions, asynchronous=False)
        except KafkaException as error:
            contract.emit({"event": "commit-failed", "error": str(error)})
            continue
        contract.emit(
            {"event": "committed", "offsets": {str(tp.partition): tp.offset for tp in positions}}
        )
    consumer.close()
    contract.emit({"event": "closed"})


if __name__ == "__main__":
    sys.exit(contract.run(CLIENT, VERSION, member, produce, verify))
