"""kafka-python: produce|verify a topic a codec, or be a group member."""

import sys
import time

import kafka
from kafka import ConsumerRebalanceListener, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

import contract

CLIENT = "kafka-python"
VERSION = kafka.__version__


def produce(bootstrap, topic, codec, inputs):
    producer = KafkaProducer(
        bootstrap_servers=bootstrap,
        enable_idempotence=True,
        acks="all",
        compression_type=None if codec == "none" else codec,
        linger_ms=5,
    )
    futures = [
        producer.send(
            topic,
            key=one.key,
            value=one.value,
            headers=one.headers,
            partition=one.partition,
            timestamp_ms=one.timestamp,
        )
        for one in inputs
    ]
    producer.flush(timeout=60)
    offsets = [future.get(timeout=60).offset for future in futures]
    producer.close()
    return len(offsets), contract.check_offsets(inputs, offsets, topic)


def verify(bootstrap, topic, inputs):
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=None,
        enable_auto_commit=False,
        check_crcs=True,
        max_poll_records=5000,
    )
    verifier = contract.Verifier(topic, inputs)
    partitions = [TopicPartition(topic, p) for p in sorted(consumer.partitions_for_topic(topic))]
    consumer.assign(partitions)
    ends = consumer.end_offsets(partitions)
    consumer.seek_to_beginning(*partitions)
    last = time.monotonic()
    while any(verifier.next.get(tp.partition, 0) < ends[tp] for tp in partitions):
        polled = consumer.poll(timeout_ms=500)
        if polled:
            last = time.monotonic()
        elif time.monotonic() - last > contract.IDLE_SECS_MAX:
            verifier.mismatches.append(
                f"nothing arrived for {contract.IDLE_SECS_MAX} s before the end offsets"
            )
            break
        for tp, records in polled.items():
            for one in records:
                verifier.check(
                    tp.partition, one.offset, one.key, one.value, one.headers, one.timestamp
                )
    consumer.close()
    return verifier.count, verifier.mismatches


class Listener(ConsumerRebalanceListener):
    def __init__(self):
        self.owned = set()

    def on_partitions_assigned(self, assigned):
        self.owned.update(tp.partition for tp in assigned)
        self._tell()

    def on_partitions_revoked(self, revoked):
        self.owned.difference_update(tp.partition for tp in revoked)
        self._tell()

    def _tell(self):
        contract.emit({"event": "assignment", "partitions": sorted(self.owned)})


def member(flags):
    consumer = KafkaConsumer(
        bootstrap_servers=flags["bootstrap"],
        group_id=flags["group"],
        client_id=flags["id"],
        session_timeout_ms=int(flags["session-timeout-ms"]),
        heartbeat_interval_ms=500,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    consumer.subscribe([flags["topic"]], listener=Listener())
    stopping = contract.stop_on_end_of_input()
    while not stopping.is_set():
        polled = consumer.poll(timeout_ms=100)
        for tp, records in polled.items():
            contract.emit(
                {
                    "event": "consumed",
                    "partition": tp.partition,
                    "first": records[0].offset,
                    "last": records[-1].offset,
                }
            )
        if not polled:
            continue
        offsets = {
            tp: OffsetAndMetadata(records[-1].offset + 1, "", -1) for tp, records in polled.items()
        }
        try:
            consumer.commit(offsets)
        except KafkaError as error:
            contract.emit({"event": "commit-failed", "error": str(error)})
            continue
        contract.emit(
            {
                "event": "committed",
                "offsets": {str(tp.partition): o.offset for tp, o in offsets.items()},
            }
        )
    consumer.close()
    contract.emit({"event": "closed"})


if __name__ == "__main__":
    sys.exit(contract.run(CLIENT, VERSION, member, produce, verify))
