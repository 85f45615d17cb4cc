"""What the programs of the Python clients share: cases, their names and their JSON lines."""

import argparse
import json
import os
import time
import traceback


def bootstrap():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True)
    return parser.parse_args().bootstrap


_count = 0
_run = f"{os.getpid()}-{int(time.time() * 1000):x}"


def unique(what):
    """A topic, group or transactional id that nothing else uses."""
    global _count
    _count += 1
    return f"{what}-{_run}-{_count}"


def until(what, condition, seconds=30):
    """Asks again until it holds; gives what held."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(0.05)


def report(name, error=None):
    line = {"test": name, "outcome": "passed"}
    if error is not None:
        detail = "".join(traceback.format_exception(error))
        line = {"test": name, "outcome": "failed", "detail": detail[-900:]}
    print(json.dumps(line), flush=True)
