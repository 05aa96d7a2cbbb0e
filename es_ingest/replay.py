"""Dead letters once more: what has been mended, and what the server would take by now."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from elasticsearch import Elasticsearch

from es_ingest.ingest import Ingester, RunOptions
from es_ingest.progress import Shown
from es_ingest.readers.fields import RowMapper
from es_ingest.readers.mapping import FieldMapping
from es_ingest.records import Malformed, Record
from es_ingest.search import model_for, readable_index
from es_ingest.stream.dead_letters import jobs_of, read_letters, times_of
from es_ingest.stream.ledger_reader import read_ledger
from es_ingest.stream.stopping import Stop
from es_ingest.stream.summary import Summary
from medte_haystack.encoder import Encoder

logger = logging.getLogger(__name__)


def replay(
    ingester: Ingester, letters: Path, options: RunOptions, progress: Shown | None = None, stop: Stop | None = None
) -> Summary:
    """Write the records of a file of dead letters, as parts of the jobs that they come from.

    A row that was no record is read again, as it may have been mended there: as JSON, by its job's mapping of fields.
    A record that a later run has written is left out: the letter is an older version of it.

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

    older = _overtaken(ingester, letters, options)
    for job, mapping in (jobs_of(letters) or {"": {}}).items():
        mapper = RowMapper(FieldMapping.from_dict(mapping))
        mended = (_mended(item, mapper) for item in read_letters(letters, job, older))
        own = replace(options, job=job, mapping=mapping, dead_before=total.failed if total else 0, watch=watch)
        done = ingester.run(mended, progress, own, stop)
        total = done if total is None else total + done
        if done.interrupted:
            break
    assert total is not None  # noqa: S101  there is at least one job
    return total


def _overtaken(ingester: Ingester, letters: Path, options: RunOptions) -> set[str]:
    """Return the places of letters whose records were written by runs that began later."""
    target = ingester.target()
    path = options.ledger_of(target)
    if path is None or not path.is_file():
        return set()
    with read_ledger(path, target) as reader:
        found = {here for here, name, time in times_of(letters) if reader.written_after(name, time)}
    if found:
        logger.warning("%d records were left out: a later run has written another version of each", len(found))
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


def _mended(item: Record | Malformed, mapper: RowMapper) -> Record | Malformed:
    if isinstance(item, Record) or item.raw is None:
        return item
    try:
        row: Any = json.loads(item.raw)
    except (ValueError, RecursionError):
        return item
    found = mapper(row, item.position) if isinstance(row, dict) else item
    return replace(found, raw=item.raw) if isinstance(found, Malformed) else found
