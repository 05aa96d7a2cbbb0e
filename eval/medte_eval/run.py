"""Runs a task on a system, on mteb's own code, and gathers what led to the scores."""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

import mteb
from mteb.abstasks import AbsTask, AbsTaskPairClassification, AbsTaskRetrieval
from mteb.results import TaskResult

from medte_eval.latency import measure_latency
from medte_eval.rating import read_items
from medte_eval.results import Outcome
from medte_eval.systems.searching import SearchSystem
from medte_eval.systems.system import System
from medte_haystack.encoder import Encoder

if TYPE_CHECKING:
    from mteb.models import MTEBModels

logger = logging.getLogger(__name__)

_LOADED_TOGETHER = 256  # texts a batch of mteb's loader; the encoder makes its own batches of them
_NOT_THE_SYSTEM = ("Data loading", "Dataset transform", "Scoring")  # mteb's phases
_OTHER_SIMILARITIES = ("cosine_", "manhattan_", "euclidean_", "dot_", "max_")
_SEED = 42


class RefusedError(ValueError):
    """A system cannot run a task."""


def evaluate(task: AbsTask, system: System, *, server_version: str | None = None, latency_queries: int = 0) -> Outcome:
    """Run a task on a system.

    Nothing is asked from the hub for a task of ours, and no earlier result is used.

    :param task: The task; its data is loaded if it is not yet.
    :param system: The system; it stays open.
    :param server_version: Version of the system's server, for the record.
    :param latency_queries: How many queries of a retrieval task to ask once more one by one; see `measure_latency`.
    :raises ReadError: If the task's data cannot be read.
    :raises RefusedError: If the system cannot run tasks of this type.
    """
    task.load_data()  # beforehand, so that mteb does not unload it, and with it the hash of the data, afterwards
    logger.info("%s on %s", task.metadata.name, system.name)
    reason = system.refusal(task.metadata.type)
    if reason is not None:
        raise RefusedError(reason)
    system.begin()
    about, settings = describe_task(task), describe_system(system, server_version)
    result, predictions = _run_mteb(task, system)
    if isinstance(task, AbsTaskPairClassification) and isinstance(system, SearchSystem):
        about["main_score"] = f"similarity_{about['main_score'].rpartition('_')[2]}"  # max_ap -> similarity_ap
        result = _of_the_server(result, about["main_score"])
    measured = system.measured
    searching = measured.search_seconds
    if searching is None:  # mteb searches by itself
        searching = max(0.0, _seconds(result) - measured.index_seconds)
    details = system.details() | learned_here(task, system)
    items = read_items(task, predictions)
    queries = [text for data in _retrieval_data(task) for text in data["queries"]["text"]]
    return Outcome(
        result=result,
        task=about,
        system=settings,
        model=describe_model(system.encoder),
        counts={
            "queries": len(queries) or (len(items.rows) if isinstance(task, AbsTaskPairClassification) else 0),
            "documents": measured.documents,
            "chunks": measured.chunks,
            "truncated": measured.truncated,
            "left_out": getattr(task, "left_out", 0),
        },
        seconds={"indexing": measured.index_seconds, "searching": searching},
        notes=tuple(_notes(task, system, settings, details)),
        details=details,
        latency=measure_latency(system, queries_to_time(task), about["top_k"], latency_queries, _SEED),
        items=items,
    )


def queries_to_time(task: AbsTask) -> list[str]:
    """Return the queries that are searched with; none where certain documents are to be scored, which is no search."""
    data = list(_retrieval_data(task))
    return [] if any(one["top_ranked"] for one in data) else [text for one in data for text in one["queries"]["text"]]


def learned_here(task: AbsTask, system: System) -> dict[str, int]:
    """Return from how many of a task's queries the weights of a system were learned, where they were."""
    name, queries = getattr(system, "learned_from", None) or (None, 0)
    return {"weights_learned_here": queries} if name == task.metadata.name else {}


def describe_task(task: AbsTask) -> dict[str, Any]:
    """Return what decides the results of a task whose data is loaded."""
    return {
        "name": task.metadata.name,
        "description": task.metadata.description,
        "type": task.metadata.type,
        "main_score": task.metadata.main_score,
        "data_sha256": task.metadata.dataset["revision"],
        "sampled_queries": getattr(task, "sampled", None),
        "reduced": getattr(task, "reduced", False),
        "subsets": sorted(task.hf_subsets),
        "splits": sorted(task.eval_splits),
        "seed": task.seed,
        "top_k": getattr(task, "_top_k", None),
        "ignore_identical_ids": getattr(task, "ignore_identical_ids", None),
    }


def describe_system(system: System, server_version: str | None) -> dict[str, Any]:
    """Return what decides what a system finds."""
    return {"name": system.name, "server_version": server_version, **system.settings()}


def describe_model(encoder: Encoder | None) -> dict[str, Any]:
    """Return what decides a model's vectors."""
    if encoder is None:
        return {"name": None}
    spec = encoder.spec
    return {
        "name": spec.hub_id or spec.name,
        "revision": spec.revision,
        "weights_sha256": encoder.weights_sha256,
        "dim": encoder.dim,
        "pooling": spec.pooling,
        "query_prefix": spec.query_prefix,
        "passage_prefix": spec.passage_prefix,
        "max_tokens": encoder.max_tokens,
        "precision": encoder.precision,
    }


def _run_mteb(task: AbsTask, system: System) -> tuple[TaskResult, Mapping[str, Any]]:
    with TemporaryDirectory() as place:
        done = mteb.evaluate(
            cast("MTEBModels", system),
            task,
            cache=None,
            co2_tracker=False,
            raise_error=True,
            encode_kwargs={"batch_size": _LOADED_TOGETHER, "show_progress_bar": False},
            show_progress_bar=False,
            prediction_folder=place,
        )
        path = Path(place) / task.prediction_file_name
        predictions = json.loads(path.read_text("utf-8")) if path.exists() else {}
    (result,) = done.task_results
    return result, predictions


def _of_the_server(result: TaskResult, main_score: str) -> TaskResult:
    """Leave only what the server said of pairs: mteb's other similarities are of vectors that it never saw."""
    scores = {
        split: [
            {name: value for name, value in one.items() if not name.startswith(_OTHER_SIMILARITIES)}
            | {"main_score": one[main_score]}
            for one in every
        ]
        for split, every in result.scores.items()
    }
    return result.model_copy(update={"scores": scores})


def _retrieval_data(task: AbsTask) -> Iterator[Any]:
    if isinstance(task, AbsTaskRetrieval):
        for subset in task.hf_subsets:
            for split in task.eval_splits:
                yield task.dataset[subset][split]


def _seconds(result: TaskResult) -> float:
    phases = result.evaluation_phases or ()
    return sum(phase["end"] - phase["start"] for phase in phases if phase["name"] not in _NOT_THE_SYSTEM)


def _notes(task: AbsTask, system: System, settings: Mapping[str, Any], details: Mapping[str, Any]) -> Iterable[str]:
    corpus = sum(len(data["corpus"]) for data in _retrieval_data(task))
    index, documents = settings.get("index"), system.measured.documents
    if index is not None and corpus:
        fields = " and ".join(settings.get("embedded_fields") or ("unknown fields",))
        yield (
            f"index {index} was made by es-ingest, which embeds {fields} of a record; the task's own corpus is"
            f" {getattr(task, 'own_corpus', 'title and text')}"
        )
        if documents != corpus:
            yield f"index {index} holds {documents:,} documents, the task's own corpus {corpus:,}"
    elif corpus and 0 < documents != corpus:
        yield f"documents of the corpus that are not in the index, since their text is blank: {corpus - documents:,}"
    if left_out := getattr(task, "left_out", 0):
        yield f"rows of the source that are unreadable or without text, and not in the corpus: {left_out:,}"
    if absent := getattr(task, "absent", 0):
        yield f"judged documents that are not in the corpus, and cannot be found: {absent:,}"
    if queries := details.get("weights_learned_here"):
        yield (
            f"the weights of {system.name} were learned from {queries:,} of these very queries, so its score says too"
            " much; what `medte-eval tune` tells is of the others"
        )
    asked, given = getattr(task, "_top_k", 0), details.get("top_k")
    if given is not None and given < min(asked, corpus):
        yield f"{system.name} gives at most {given} documents a query, as its file says; no score looks deeper"
    if isinstance(task, AbsTaskPairClassification):
        yield from _of_pairs(system)
    elif not isinstance(task, AbsTaskRetrieval) and isinstance(system, SearchSystem):
        yield f"{task.metadata.type} on {system.name} is its model's alone; no index takes part"


def _of_pairs(system: System) -> Iterable[str]:
    """Tell how pairs are scored: by the model alone their texts are neither queries nor passages, as mteb has it."""
    encoder = system.encoder
    first, second = ("", "") if encoder is None else (encoder.prefix("query"), encoder.prefix("passage"))
    if isinstance(system, SearchSystem):
        prefixes = f"; first texts have the prefix {first!r}, second texts {second!r}" if first or second else ""
        yield f"pairs on {system.name}: {system.scoring()}{prefixes}"
    elif first or second:
        yield f"pairs on {system.name}: neither text has a prefix, though the model has some"
