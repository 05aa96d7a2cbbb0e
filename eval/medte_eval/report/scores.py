"""The scores of every task, and what they took."""

import math
from collections.abc import Mapping, Sequence

from es_ingest.planning.sizes import size_of
from medte_eval.report.model import Scored, Setup, TaskScores
from medte_eval.report.published import find_published
from medte_eval.report.reading import Result
from medte_eval.systems import OWN_STORES
from medte_eval.tasks.benchmark import BENCHMARK, NAME, split_name
from medte_eval.tasks.benchmark.sources import SOURCES
from medte_haystack.errors import IndexContractError
from medte_haystack.index.contract import EMBEDDING
from medte_haystack.index.mapping import quantisation_of

OTHERS = "Other tasks"
TYPES = ("Classification", "Clustering", "PairClassification", "Retrieval")
"""In the order in which the benchmark's paper has them."""
ENCODING = "encoding alone"
"""What is timed of a model alone, beside which no search can be put."""
_FLOATS = ("encoder", "exact")  # compare float vectors, all of them


def gather_scores(results: Sequence[Result], setups: Mapping[str, Setup]) -> list[TaskScores]:
    """Return the tasks, those of the benchmark first and in its order.

    :param setups: See `find_setups`.
    """
    by_task: dict[str, dict[str, Result]] = {}
    for one in results:
        by_task.setdefault(one.task.name, {})[one.setup] = one
    tasks = [_task([its[key] for key in setups if key in its], setups) for its in by_task.values()]
    return sorted(tasks, key=_order)


def benchmark_of(task: str) -> str:
    """Return which leaderboard a task counts for."""
    known = split_name(task)
    return OTHERS if known is None or known[0].reserve else NAME


def type_order(kind: str) -> tuple[int, str]:
    """Return what sorts task types."""
    return (TYPES.index(kind) if kind in TYPES else len(TYPES), kind)


def _order(task: TaskScores) -> tuple[object, ...]:
    known = split_name(task.name)
    number = BENCHMARK[known[0].name].number if known else 0
    return (task.benchmark == OTHERS, number or 1000, type_order(task.type), task.name)


def _task(results: Sequence[Result], setups: Mapping[str, Setup]) -> TaskScores:
    first = results[0]
    task, counts = first.task, first.run.counts
    published_as, published = find_published(results)
    return TaskScores(
        name=task.name,
        type=task.type,
        description=task.description,
        main_score=task.main_score,
        benchmark=benchmark_of(task.name),
        source=SOURCES[known[0].source].title if (known := split_name(task.name)) else None,
        items=counts.get("queries") or counts.get("documents", 0),
        sampled_queries=task.sampled_queries,
        reduced=task.reduced,
        top_k=task.top_k,
        data_sha256=task.data_sha256,
        scores=[_scored(one, setups[one.setup].mark) for one in results],
        published_as=published_as,
        published=published,
    )


def _scored(result: Result, mark: str) -> Scored:
    run, latency = result.run, result.run.latency
    notes = tuple(run.notes)
    if latency is not None and latency.timed != ENCODING and latency.top_k != result.task.top_k:
        told = f"its latency, of searches for {latency.top_k} documents, is left out: {result.task.top_k} were scored"
        latency, notes = None, (*notes, told)
    return Scored(
        mark=mark,
        score=result.score,
        scores=run.scores,
        documents=run.counts.get("documents", 0),
        chunks=run.counts.get("chunks", 0),
        truncated=run.counts.get("truncated", 0),
        index_seconds=run.seconds.get("indexing"),
        search_seconds=run.seconds.get("searching"),
        timed=None if latency is None else latency.timed,
        p50_ms=None if latency is None else latency.p50_ms,
        p99_ms=None if latency is None else latency.p99_ms,
        queries_per_second=None if latency is None else latency.queries_per_second,
        vector_bytes=_vector_bytes(result) if result.task.type == "Retrieval" else None,
        index_bytes=run.index_bytes,
        at_most=_at_most(result),
        learned_from=run.weights_learned_here or None,
        notes=notes,
        file=result.path.name,
    )


def _at_most(result: Result) -> int | None:
    """Return how many documents a system gives at most, where these are fewer than were asked for and are there."""
    given, there = result.run.top_k, result.run.counts.get("documents") or math.inf
    return given if given is not None and given < min(result.task.top_k or 0, there) else None


def _vector_bytes(result: Result) -> int | None:
    """Return the memory that the searched vectors want, 0 for words alone; None if it is not known."""
    system, dim, chunks = result.run.system, result.run.model.get("dim"), result.run.counts.get("chunks")
    if result.run.model.get("name") is None and not system.get(OWN_STORES):
        return 0
    if not isinstance(dim, int) or not chunks:
        return None
    if system.get("name") in _FLOATS:
        return size_of("flat", chunks, dim).ram
    if not isinstance(options := system.get("index_options"), Mapping):
        return None
    try:
        quantisation = quantisation_of({"properties": {EMBEDDING: {"index_options": options}}})
        return size_of(quantisation, chunks, dim, m=options.get("m")).ram
    except IndexContractError:
        return None
