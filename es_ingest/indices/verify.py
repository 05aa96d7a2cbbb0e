"""Tells whether an index holds what its ledger says, and the vectors that its model makes."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from elasticsearch import Elasticsearch

from es_ingest.indices.comparison import Comparison, Tally, compare
from es_ingest.indices.expected import Expected, VectorCheck, check_vectors
from es_ingest.indices.graph import graph_pending
from es_ingest.indices.loading import being_loaded
from es_ingest.ingest import target_of
from es_ingest.search import readable_index
from es_ingest.stream.ledger_reader import LedgerReader, read_ledger
from es_ingest.stream.target import ledger_path

logger = logging.getLogger(__name__)

SAMPLE = 200  # chunks
PARTIAL = "partial"
OF_CONTENT = ("length", "unfit")  # kinds of findings that a copy has from what it was made of


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be.

    :param kind: One word, for programs.
    :param count: How often.
    :param message: What it is, and what mends it.
    :param first: Ids of the first few.
    """

    kind: str
    count: int
    message: str
    first: tuple[str, ...] = ()

    def __str__(self) -> str:
        named = f" ({', '.join(self.first)}{', …' if self.count > len(self.first) else ''})" if self.first else ""
        return f"{self.kind}: {self.message}{named}"


@dataclass(slots=True)
class Verification:
    """What was looked at, and what was found.

    :param index: The index.
    :param ledger: Its ledger; None if there is none here, so that chunks were compared with each other alone.
    :param records: Records in the index.
    :param chunks: Chunks in the index.
    :param ledger_records: Records that the server has acknowledged, by the ledger.
    :param ledger_chunks: Their chunks.
    :param sampled: Chunks whose vector was read back.
    :param expected: What the vectors were compared with.
    :param least_cosine: Least cosine that they should have to it.
    :param lowest_cosine: Lowest cosine that they have.
    :param not_checked: Why the vectors were not compared with anything, if they were not.
    :param findings: What is not as it should be.
    :param seconds: Time it took.
    """

    index: str
    ledger: str | None = None
    records: int = 0
    chunks: int = 0
    ledger_records: int | None = None
    ledger_chunks: int | None = None
    sampled: int = 0
    expected: str | None = None
    least_cosine: float | None = None
    lowest_cosine: float | None = None
    not_checked: str | None = None
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def wrong(self, *, but: str | None = None) -> str:
        """Return all findings as one line, save those of a kind that does not matter."""
        return "; ".join(str(one) for one in self.findings if one.kind != but)

    def to_dict(self) -> dict[str, Any]:
        """Return it as the one JSON object that `--json` prints."""
        return {**asdict(self), "seconds": round(self.seconds, 3), "holds": self.holds}


def verify(
    client: Elasticsearch,
    index: str,
    *,
    ledger: Path | None = None,
    expected: Expected | str,
    sample: int = SAMPLE,
) -> Verification:
    """Compare an index with its ledger, and a sample of its vectors with what they should be.

    :param index: The index, or an alias of it.
    :param ledger: File of the ledger; None takes the one kept for the index, if it is here.
    :param expected: What the vectors should be, or why that is not looked at.
    :param sample: How many vectors are read back.
    :raises IndexMissingError: If the index does not exist.
    :raises IndexContractError: If something else than this project made it.
    :raises LedgerError: If the ledger is not the index's, or a run uses it.
    """
    name = readable_index(client, index).name
    with ledger_of(client, name, ledger) as reader:
        return verify_with(client, name, reader, expected=expected, sample=sample)


def verify_with(
    client: Elasticsearch, index: str, ledger: LedgerReader | None, *, expected: Expected | str, sample: int = SAMPLE
) -> Verification:
    """Do the same with a ledger that is open; see :func:`verify`.

    :param index: The index itself.
    :param ledger: Its ledger; None compares chunks with each other alone.
    """
    started = time.perf_counter()
    dim = readable_index(client, index).dim
    assert dim is not None  # noqa: S101  of a readable index
    found = Verification(index, findings=list(_of_loading(client, index)))
    if ledger is not None:
        found.ledger = str(ledger.path)
        found.ledger_records, found.ledger_chunks = ledger.totals()
        compared = compare(client, index, ledger.records(), ledger.unsettled(), sample=sample)
    else:
        compared = compare(client, index, None, sample=sample)
    found.records, found.chunks = compared.records, compared.chunks
    found.findings += _of_chunks(compared, found.ledger)
    if isinstance(expected, str):
        found.not_checked = expected
        vectors = check_vectors(client, index, compared.sample, dim, None)
    else:
        found.expected, found.least_cosine = expected.by, expected.least
        vectors = check_vectors(client, index, compared.sample, dim, expected)
    found.sampled, found.lowest_cosine = vectors.read, vectors.lowest
    found.findings += _of_vectors(vectors, found.expected)
    found.seconds = time.perf_counter() - started
    return found


@contextmanager
def ledger_of(client: Elasticsearch, index: str, path: Path | None = None) -> Iterator[LedgerReader | None]:
    """Open an index's ledger for the time of a ``with`` block; None if it is not here.

    :param index: The index itself.
    :param path: File of the ledger; None takes the one kept for the index.
    :raises LedgerError: If it is not the index's, or a run uses it, or the file named is missing.
    """
    target = target_of(client, index)
    if path is None:
        path = ledger_path(target)
        if not path.is_file():
            yield None
            return
    with read_ledger(path, target) as reader:
        yield reader


def _of_loading(client: Elasticsearch, index: str) -> Iterator[Finding]:
    if graph_pending(client, index):
        logger.info("the server is building the graph of the vectors; until it is there searches compare with each")
    if being_loaded(client, index):
        yield Finding(
            "loading",
            1,
            "it is without refresh and replicas, as a load that broke off has left it; the same command again puts them"
            " back",
        )


def _of_chunks(found: Comparison, ledger: str | None) -> Iterator[Finding]:
    if ledger is None:
        missing = "chunks are missing between others of their records"
    else:
        missing = f"chunks that the ledger has are missing; without {ledger} the same command writes all again"
    yield from _some("missing", found.missing, missing)
    yield from _some("surplus", found.surplus, "chunks are there of which the ledger knows nothing")
    yield from _some(
        PARTIAL,
        found.partial,
        "chunks are of records that were refused, or under way when a run ended; the same command again, or"
        " `es-ingest replay`, completes them",
    )
    yield from _some("twice", found.twice, "chunks have the number of another one of their record")
    yield from _some("place", found.misplaced, "chunks begin or end before the one that they follow")
    yield from _some("foreign", found.foreign, "documents are no chunks: something else has written them")


def _of_vectors(found: VectorCheck, expected: str | None) -> Iterator[Finding]:
    yield from _some("length", found.misplaced, f"of {found.read:,} chunks have a text of another length than they say")
    yield from _some("unfit", found.unfit, f"of {found.read:,} chunks have no vector, or none that may be there")
    if found.different.count:
        what = f"of {found.read:,} vectors are not {expected} (lowest cosine {found.lowest:.4f})"
        yield from _some("vector", found.different, what)


def _some(kind: str, tally: Tally, what: str) -> Iterator[Finding]:
    if tally.count:
        yield Finding(kind, tally.count, f"{tally.count:,} {what}", tuple(tally.first))
