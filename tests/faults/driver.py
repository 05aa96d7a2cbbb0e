"""A program that writes made-up records into an index, to be killed, starved and cut off; prints its summary as JSON.

Before that, or before it ends by an error, it prints the most memory that it has had. Its one argument is JSON, the
fields of `Task`.
"""

import json
import logging
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from elasticsearch import Elasticsearch

from es_ingest.ingest import Ingester, RunOptions
from es_ingest.records import Record
from es_ingest.stream.stopping import Stop
from es_ingest.stream.target import Target, target_of
from medte_haystack.index import Fingerprint

DIM = 16


@dataclass(frozen=True)
class Task:
    """What to write.

    :param records: How many.
    :param version: Every third record differs from version to version.
    :param pace: Records that are read a second at most; 0 knows no bound.
    :param size: Characters that each text has at least; to be many times what may be in memory.
    :param odd: Every 100th record has a field that the mapping cannot take.
    """

    url: str
    index: str
    records: int
    ledger: str | None = None
    dead: str | None = None
    max_dead: int | None = None
    version: int = 1
    pace: int = 0
    size: int = 0
    odd: bool = False
    tries: int = 40


def text(task: Task, number: int) -> str:
    """Return the text of a record."""
    return f"Record {number} in version {task.version if number % 3 == 0 else 1}.".ljust(task.size, ".")


def vector(number: int) -> "np.ndarray":
    """Return a record's vector."""
    found = np.random.default_rng(number).standard_normal(DIM)
    return (found / np.linalg.norm(found)).astype(np.float32)


def is_odd(number: int) -> bool:
    """Tell whether a record is one that an odd task spoils."""
    return number % 100 == 7


def records(task: Task) -> Iterator[Record]:
    """Yield the records of a task."""
    started = time.monotonic()
    for number in range(task.records):
        if task.pace and number % 100 == 0:
            time.sleep(max(0.0, number / task.pace - (time.monotonic() - started)))
        value = {"an": "object"} if task.odd and is_odd(number) else number
        yield Record(f"r{number}", "", text(task, number), {"number": value}, f"made:{number}", vector(number))


def fingerprint() -> Fingerprint:
    """Return what the vectors are said to be made by."""
    return Fingerprint(model="made-up", dim=DIM, pooling="mean")


def target(client: Elasticsearch, index: str) -> Target:
    """Return the index as a ledger knows it."""
    return target_of(client, index)


def peak_mb(process: int | str = "self") -> float:
    """Return the most memory that a process has had, in MB; elsewhere than on Linux what it has now.

    On Linux getrusage is no help: a child begins with its parent's peak.
    """
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return psutil.Process(None if process == "self" else int(process)).memory_info().rss / 2**20
    found = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(found[0]) / 2**10 if found else 0.0  # none of one that has just ended


def main() -> None:
    """Write, and print the summary."""
    logging.basicConfig(level=logging.WARNING)
    task = Task(**json.loads(sys.argv[1]))
    with Elasticsearch(task.url) as client, Stop() as stop:
        ingester = Ingester(client, task.index, None, vectors_by=fingerprint(), quantisation="flat")
        print("writing", flush=True)
        options = RunOptions(
            ledger=Path(task.ledger) if task.ledger else None,
            dead=Path(task.dead) if task.dead else None,
            max_dead=task.max_dead,
            tries=task.tries,
        )
        try:
            summary = ingester.run(records(task), None, options, stop)
        finally:
            print(f"peak {peak_mb():.0f} MB", flush=True)
        print(json.dumps(summary.to_dict()))


if __name__ == "__main__":
    main()
