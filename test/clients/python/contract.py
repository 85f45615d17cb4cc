"""What both Python programs share: flags, the input file, and one JSON line a result."""

import base64
import json
import sys
import threading
import time
from collections import namedtuple

MISMATCHES_SHOWN_MAX = 5
IDLE_SECS_MAX = 30.0

Input = namedtuple("Input", "key value headers timestamp partition")


def parse_args(argv):
    """Returns (verb, {flag: value}) of `VERB --flag value ...`."""
    verb, rest = argv[1], argv[2:]
    if len(rest) % 2 or not all(name.startswith("--") for name in rest[::2]):
        raise SystemExit(f"bad arguments {rest}")
    return verb, {name[2:]: value for name, value in zip(rest[::2], rest[1::2])}


def _decode(text):
    return None if text is None else base64.b64decode(text)


def load(flags):
    """The first `--records` of `--input`."""
    path, count = flags["input"], int(flags["records"])
    null = b"" if flags.get("null-headers-as-empty") == "true" else None
    inputs = []
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            headers = [
                (name, null if value is None else _decode(value)) for name, value in row["headers"]
            ]
            inputs.append(
                Input(
                    _decode(row["key"]),
                    _decode(row["value"]),
                    headers,
                    row["timestamp"],
                    row["partition"],
                )
            )
            if len(inputs) == count:
                return inputs
    raise SystemExit(f"{path} holds only {len(inputs)} records")


def by_partition(inputs):
    partitions = {}
    for one in inputs:
        partitions.setdefault(one.partition, []).append(one)
    return partitions


def emit(line):
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


class Verifier:
    """Compares what arrives, partition by partition, with the input."""

    def __init__(self, topic, inputs):
        self.topic = topic
        self.wanted = by_partition(inputs)
        self.next = {}
        self.count = 0
        self.mismatches = []

    def check(self, partition, offset, key, value, headers, timestamp):
        index = self.next.get(partition, 0)
        self.next[partition] = index + 1
        self.count += 1
        found = self._difference(
            self.wanted.get(partition, []), index, offset, key, value, headers, timestamp
        )
        if found:
            self.mismatches.append(f"{self.topic}-{partition}@{offset}: {found}")

    @staticmethod
    def _difference(wanted, index, offset, key, value, headers, timestamp):
        if index >= len(wanted):
            return "more records than were produced"
        want = wanted[index]
        if offset != index:
            return f"offset is not {index}"
        if key != want.key:
            return "key differs"
        if value != want.value:
            return "value differs"
        if timestamp != want.timestamp:
            return f"timestamp {timestamp} is not {want.timestamp}"
        if list(headers or []) != want.headers:
            return f"headers {headers!r} are not {want.headers!r}"
        return None


def check_offsets(inputs, offsets, topic):
    """Acknowledged offsets must be dense from 0 in every partition, in order of sending."""
    following, mismatches = {}, []
    for index, (one, offset) in enumerate(zip(inputs, offsets)):
        wanted = following.get(one.partition, 0)
        following[one.partition] = wanted + 1
        if offset != wanted:
            mismatches.append(
                f"{topic}-{one.partition}: record {index} acknowledged at {offset}, not {wanted}"
            )
    return mismatches


def report(client, version, action, codec, records, mismatches, ms):
    emit(
        {
            "client": client,
            "version": version,
            "action": action,
            "codec": codec,
            "records": records,
            "mismatches": len(mismatches),
            "ms": round(ms),
            "detail": mismatches[:MISMATCHES_SHOWN_MAX],
        }
    )


def stop_on_end_of_input():
    """An event that is set when stdin ends."""
    stopping = threading.Event()

    def watch():
        while sys.stdin.buffer.read(1):
            pass
        stopping.set()

    threading.Thread(target=watch, daemon=True).start()
    return stopping


def run(client, version, member, produce, verify):
    """The program of one client: what its command line asks for; its exit code."""
    verb, flags = parse_args(sys.argv)
    if verb == "member":
        member(flags)
        return 0
    inputs = load(flags)
    failed = False
    for codec in flags["codecs"].split(","):
        started = time.monotonic()
        topic = f"{flags['topic']}-{codec}"
        if verb == "produce":
            count, mismatches = produce(flags["bootstrap"], topic, codec, inputs)
        else:
            count, mismatches = verify(flags["bootstrap"], topic, inputs)
        ms = (time.monotonic() - started) * 1000
        report(client, version, verb, codec, count, mismatches, ms)
        failed = failed or bool(mismatches) or count != len(inputs)
    return 1 if failed else 0
