"""Dead letters once more: what has been mended, and what the server would take by now."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from elasticsearch import Elasticsearch

from es_ingest.ingest import Ingester, RunOptions
from es_ingest.progress import Shown
from es_ingest.readers import FORMATS, FieldMapping
from es_ingest.readers.values import RowError
from es_ingest.readers.vectors import checked
from es_ingest.records import Malformed, Record
from es_ingest.search import model_for, readable_index
from es_ingest.stream.dead_letters import jobs_of, letters_of
from es_ingest.stream.ledger_reader import read_ledger
from es_ingest.stream.stopping import Stop
from es_ingest.stream.summary import Summary
from medte_haystack.encoder import Encoder

logger = logging.getLogger(__name__)

_AT_THE_SOURCE = "mend the source and run its command again"


def replay(
    ingester: Ingester, letters: Path, options: RunOptions, progress: Shown | None = None, stop: Stop | None = None
) -> Summary:
    """Write the records of a file of dead letters, as parts of the jobs that they come from.

    A row that was no record is read again, as it may have been mended there, by the reader and the mapping of fields of
    its job. A record that a later run has written is left out, or whose deletion it has read: the letter is older.

    :param options: Its job and mapping are those of the letters. What still cannot be written goes to `options.dead`,
        and counts for all jobs together.
    :returns: What was done, of all jobs together.
    :raises ReadError: If it is no file of dead letters.
    :raises LedgerError: If the ledger cannot be used.
    """
    total: Summary | None = None

    def watch(summary: Summary) -> None:
        if options.watch is not None:
            options.watch(summary if total is None else total + summary)

    encodes = ingester.making.encoder is not None
    jobs = {job: JobLetters(letters, job, how, encodes=encodes) for job, how in (jobs_of(letters) or {"": {}}).items()}
    older = _overtaken(ingester, jobs.values(), options)
    for job, read in jobs.items():
        mended = (item for time, item in read if isinstance(item, Malformed) or (time, item.id) not in older)
        own = replace(options, job=job, mapping=read.mapping, dead_before=total.failed if total else 0, watch=watch)
        done = ingester.run(mended, progress, own, stop)
        total = done if total is None else total + done
        if done.interrupted:
            break
    assert total is not None  # noqa: S101  there is at least one job
    return total


def _overtaken(ingester: Ingester, jobs: Iterable["JobLetters"], options: RunOptions) -> set[tuple[str, str]]:
    """Return the times and ids of letters whose records were written by runs that began later."""
    target = ingester.target()
    path = options.ledger_of(target)
    if path is None or not path.is_file():
        return set()
    with read_ledger(path, target) as reader:
        found = {
            (time, item.id)
            for job in jobs
            for time, item in job
            if time and isinstance(item, Record) and reader.written_after(item.id, time)
        }
    if found:
        logger.warning("%d records were left out: a later run or replay has written or removed them", len(found))
    return found


def ingester_of(
    client: Elasticsearch, index: str, model: str | None, *, device: str | None = None, precision: str = "auto"
) -> Ingester:
    """Return what writes into an existing index as its runs did before.

    :param model: The model; None takes the one that the index was made with. Ready-made vectors need none.
    :raises FingerprintMismatchError: If the model is not the index's.
    :raises IndexMissingError: If the index is not there.
    """
    made_by = readable_index(client, index).fingerprint
    assert made_by is not None  # noqa: S101  of a readable index
    if made_by.embedded_fields is None:
        return Ingester(client, index, None, vectors_by=made_by)
    encoder = Encoder.load(
        model_for(client, index, model), device=device, precision=precision, max_tokens=made_by.max_tokens
    )
    overlap = made_by.chunk_overlap or 0
    return Ingester(client, index, encoder, chunk_tokens=made_by.chunk_tokens, chunk_overlap=overlap)


class JobLetters:
    """The letters of one job: records as they are kept, and rows that were none as their format's reader reads them.

    Iterated over, it gives the time at which the letter's run began, and the record or what is wrong with it still.

    :param letters: The file.
    :param job: What was read; its first word is the format.
    :param mapping: How records were made of it.
    :param encodes: Whether a model makes the vectors; else each record must bring its own.
    """

    def __init__(self, letters: Path, job: str, mapping: Mapping[str, Any], *, encodes: bool) -> None:
        self.mapping = mapping
        self._letters = letters
        self._job = job
        self._reader = FORMATS.get(job.partition(" ")[0])
        self._fields = FieldMapping.from_dict(mapping) if self._reader and self._reader.mapped else None
        self._encodes = encodes

    def __iter__(self) -> Iterator[tuple[str, Record | Malformed]]:
        for time, item in letters_of(self._letters, self._job):
            yield from ((time, one) for one in ([item] if isinstance(item, Record) else self._again(item)))

    def _again(self, row: Malformed) -> Iterator[Record | Malformed]:
        again = self._reader.again if self._reader else None
        if row.raw is None or again is None:
            why = "" if self._reader else "its job names no format that is known; "
            told = row.reason.endswith(_AT_THE_SOURCE)
            yield row if told else replace(row, reason=f"{row.reason}; {why}{_AT_THE_SOURCE}")
            return
        try:
            normalise = bool(self.mapping.get("normalise"))
            for one in checked(again(row.raw, row.position, self._fields), normalise=normalise):
                if isinstance(one, Malformed):
                    yield replace(one, raw=row.raw if one.raw is None and one.record is None else one.raw)
                elif one.vector is None and not self._encodes:
                    yield replace(row, reason=f"its vector is in a file beside the source; {_AT_THE_SOURCE}")
                else:
                    yield one
        except RowError as error:
            yield replace(row, reason=str(error))
