"""Tunes an index: draws vectors and queries, makes the copies, measures the grid, recommends a setting."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from elasticsearch import Elasticsearch
from numpy.typing import NDArray

from es_ingest.tuning import grid
from es_ingest.tuning.copies import copies, segments
from es_ingest.tuning.grid import Setting
from es_ingest.tuning.measure import Measured, measure, requests_a_setting
from es_ingest.tuning.sample import Tell, draw
from medte_haystack.errors import IndexContractError
from medte_haystack.index import IndexInfo, detect_server, index_options, run
from medte_haystack.index.contract import EMBEDDING
from medte_haystack.index.mapping import vector_field

logger = logging.getLogger(__name__)

_SECONDS = 120.0  # for a request; drawing from millions of documents takes a while
QUANTISATIONS = ("int8", "int4", "bbq")  # measured beside the index's own


@dataclass(frozen=True, slots=True)
class TuneOptions:
    """What is measured, and what is wanted.

    :param top_k: Hits a query.
    :param recall: Least share of the exact `top_k` that a recommended setting finds.
    :param vectors: Most vectors that are copied.
    :param max_queries: Most queries.
    :param quantisations: Which to measure; empty for the index's own and `QUANTISATIONS`.
    :param oversampling: Which to measure.
    :param num_candidates: Which to measure; empty for a range that grows with `top_k`.
    :param force_merge: Measure copies that were merged into one segment a shard.
    """

    top_k: int = 10
    recall: float = 0.99
    vectors: int = 100_000
    max_queries: int = 200
    quantisations: Sequence[str] = ()
    oversampling: Sequence[float] = grid.OVERSAMPLING
    num_candidates: Sequence[int] = ()
    force_merge: bool = False


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a tuning was measured under.

    :param index: The index.
    :param quantisation: Its own vector index type.
    :param dim: Dimensions.
    :param in_index: Vectors it has.
    :param vectors: Vectors that were searched.
    :param queries: Queries asked.
    :param queries_from: ``file``, or ``index`` for vectors of its documents, which were not among those searched.
    :param requests: Timed requests of each setting.
    :param top_k: Hits a query.
    :param wanted_recall: What a recommended setting must reach.
    :param shards: Primary shards of the index and of the copies.
    :param index_segments: Segments of the index.
    :param segments: Segments of the copies.
    :param force_merged: Whether the copies were merged.
    :param server_version: Where the server tells it.
    """

    index: str
    quantisation: str
    dim: int
    in_index: int
    vectors: int
    queries: int
    queries_from: str
    requests: int
    top_k: int
    wanted_recall: float
    shards: int
    index_segments: int
    segments: dict[str, int]
    force_merged: bool
    server_version: str | None


@dataclass(frozen=True, slots=True)
class Tuning:
    """What a tuning found.

    :param conditions: What it was measured under.
    :param settings: Everything that was measured.
    :param today: Of these, what a search gets that names no settings; None if that was not measured.
    """

    conditions: Conditions
    settings: Sequence[Measured]
    today: Measured | None

    @property
    def reaching(self) -> list[Measured]:
        """Of each quantisation the fastest setting, by its median, that reaches the recall wanted; fastest first."""
        fastest: dict[str, Measured] = {}
        for one in sorted(self.settings, key=lambda one: one.p50_ms):
            if one.recall >= self.conditions.wanted_recall - 1e-9:
                fastest.setdefault(one.setting.quantisation, one)
        return list(fastest.values())

    @property
    def recommended(self) -> Measured | None:
        """The fastest setting that reaches the recall wanted; None if none does."""
        return next(iter(self.reaching), None)

    @property
    def nearest(self) -> Measured:
        """The setting of the highest recall; of several, the fastest."""
        return max(self.settings, key=lambda one: (one.recall, -one.p50_ms))

    def to_dict(self) -> dict[str, Any]:
        """Return it as it is printed for programs."""
        best = self.recommended
        knn = None if best is None else best.setting.knn(self.conditions.top_k)
        return {
            **asdict(self.conditions),
            "settings": [one.to_dict() for one in self.settings],
            "today": None if self.today is None else self.today.to_dict(),
            "recommended": None if best is None else {**best.to_dict(), "knn": knn},
            "reaching": [one.to_dict() for one in self.reaching],
        }


def _quiet(what: str, done: int, of: int) -> None:
    """Show nothing."""


def tune(
    client: Elasticsearch,
    info: IndexInfo,
    options: TuneOptions,
    queries: NDArray[np.float32] | None = None,
    tell: Tell = _quiet,
) -> Tuning:
    """Measure the grid on copies of an index's vectors; the index itself is only read.

    :param info: The index.
    :param queries: Unit vectors of real queries, shape (q, dim); None takes vectors of the index's documents.
    :param tell: Takes how far it is.
    :raises IndexContractError: If the index has too few vectors, or a setting does not go with it or its server.
    :raises BulkWriteError: If the server stays unreachable while copies are written.
    """
    client = client.options(request_timeout=_SECONDS)
    server = run(client, detect_server())
    ((_, found),) = client.indices.get(index=info.name).items()
    shards, field = int(found["settings"]["index"]["number_of_shards"]), found["mappings"]["properties"][EMBEDDING]
    fields = _fields(info, field, options)
    settings = _settings(info, field, list(fields), options)
    sample = draw(
        client,
        info,
        most_vectors=options.vectors,
        queries=queries,
        most_queries=options.max_queries,
        top_k=options.top_k,
        tell=tell,
    )
    vectors, asked = sample.vectors, sample.queries
    logger.info("read %s of %s vectors, %.1f s", f"{len(vectors):,}", f"{sample.in_index:,}", sample.seconds)
    with copies(
        client, info.name, fields, vectors, server, shards=shards, force_merge=options.force_merge, tell=tell
    ) as made:
        logger.info("asking %d settings %d times each", len(settings), requests_a_setting(len(asked)))
        results = measure(client, settings, made, vectors, asked, top_k=options.top_k, tell=tell)
    today = grid.setting_today(info.quantisation, field, options.top_k)
    conditions = Conditions(
        index=info.name,
        quantisation=info.quantisation,
        dim=vectors.shape[1],
        in_index=sample.in_index,
        vectors=len(vectors),
        queries=len(asked),
        queries_from="index" if queries is None else "file",
        requests=requests_a_setting(len(asked)),
        top_k=options.top_k,
        wanted_recall=options.recall,
        shards=shards,
        index_segments=segments(client, info.name),
        segments={kind: copy.segments for kind, copy in made.items()},
        force_merged=options.force_merge,
        server_version=None if server.version is None else ".".join(map(str, server.version)),
    )
    return Tuning(conditions, results, next((one for one in results if one.setting == today), None))


def _fields(info: IndexInfo, field: dict[str, Any], options: TuneOptions) -> dict[str, dict[str, Any]]:
    """Return the mappings of the copies' vector fields; the index's own is taken as it is, with its graph's numbers."""
    fields: dict[str, dict[str, Any]] = {}
    for kind in options.quantisations or (info.quantisation, *QUANTISATIONS):
        if kind == info.quantisation:
            fields[kind] = field
            continue
        try:
            index_options(kind, info.dim)
        except IndexContractError as error:
            if options.quantisations:
                raise
            logger.info("%s is left out: %s", kind, error)
            continue
        fields[kind] = vector_field(info.dim, kind, info.similarity or "dot_product")
    return fields


def _settings(info: IndexInfo, field: dict[str, Any], kinds: list[str], options: TuneOptions) -> list[Setting]:
    candidates = options.num_candidates or grid.default_candidates(options.top_k)
    found = grid.grid(kinds, options.oversampling, candidates, options.top_k)
    if not found:
        raise IndexContractError(
            f"num_candidates {', '.join(map(str, candidates))} is below top_k {options.top_k} times the oversampling;"
            " ask for more candidates or less oversampling",
            top_k=options.top_k,
        )
    today = grid.setting_today(info.quantisation, field, options.top_k)
    return found if today in found or today.quantisation not in kinds else [today, *found]
