"""A program that writes made-up records into an index, to be killed, starved and cut off; prints its summary as JSON.

Its one argument is JSON, the fields of `Task`.
"""

import json
import logging
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
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
    odd: bool = False
    tries: int = 40


def text(number: int, version: int) -> str:
    """Return the text of a record."""
    return f"Record {number} in version {version if number % 3 == 0 else 1}."


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
        yield Record(f"r{number}", "", text(number, task.version), {"number": value}, f"made:{number}", vector(number))


def fingerprint() -> Fingerprint:
    """Return what the vectors are said to be made by."""
    return Fingerprint(model="made-up", dim=DIM, pooling="mean")


def target(client: Elasticsearch, index: str) -> Target:
    """Return the index as a ledger knows it."""
    return target_of(client, index)


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
        print(json.dumps(ingester.run(records(task), None, options, stop).to_dict()))


if __name__ == "__main__":
    main()
