"""Runs a task on a system, on mteb's own code, and gathers what led to the scores."""

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

import mteb
from mteb.results import TaskResult

from medte_eval.results import Outcome
from medte_eval.systems.system import System
from medte_eval.tasks.retrieval import LocalRetrieval
from medte_haystack.encoder import Encoder

if TYPE_CHECKING:
    from mteb.models import MTEBModels

logger = logging.getLogger(__name__)

_LOADED_TOGETHER = 256  # texts a batch of mteb's loader; the encoder makes its own batches of them
_NOT_THE_SYSTEM = ("Data loading", "Dataset transform", "Scoring")  # mteb's phases


def evaluate(task: LocalRetrieval, system: System, *, server_version: str | None = None) -> Outcome:
    """Run a task on a system.

    Nothing is asked from the hub, and no earlier result is used.

    :param task: The task; its data is loaded if it is not yet.
    :param system: The system; it stays open.
    :param server_version: Version of the system's server, for the record.
    :raises ReadError: If the task's data cannot be read.
    """
    task.load_data()  # beforehand, so that mteb does not unload it, and with it the hash of the data, afterwards
    logger.info("%s on %s", task.metadata.name, system.name)
    done = mteb.evaluate(
        cast("MTEBModels", system),
        task,
        cache=None,
        co2_tracker=False,
        raise_error=True,
        encode_kwargs={"batch_size": _LOADED_TOGETHER, "show_progress_bar": False},
        show_progress_bar=False,
    )
    (result,) = done.task_results
    parameters = system.parameters()
    measured = system.measured
    searching = measured.search_seconds
    if searching is None:  # mteb searches by itself
        searching = max(0.0, _seconds(result) - measured.index_seconds)
    return Outcome(
        result=result,
        task={
            "name": task.metadata.name,
            "description": task.metadata.description,
            "type": task.metadata.type,
            "main_score": task.metadata.main_score,
            "data_sha256": task.metadata.dataset["revision"],
            "sampled_queries": task.sampled,
            "seed": task.seed,
        },
        system={"name": system.name, "server_version": server_version, **parameters},
        model=_describe_model(system.encoder),
        counts={
            "queries": len(task.data["queries"]),
            "documents": measured.documents,
            "chunks": measured.chunks,
            "truncated": measured.truncated,
            "left_out": task.left_out,
        },
        seconds={"indexing": measured.index_seconds, "searching": searching},
        notes=tuple(_notes(task, system, parameters)),
    )


def _seconds(result: TaskResult) -> float:
    phases = result.evaluation_phases or ()
    return sum(phase["end"] - phase["start"] for phase in phases if phase["name"] not in _NOT_THE_SYSTEM)


def _describe_model(encoder: Encoder) -> dict[str, Any]:
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


def _notes(task: LocalRetrieval, system: System, parameters: dict[str, Any]) -> Iterable[str]:
    corpus = len(task.data["corpus"])
    index = parameters.get("index")
    if index is not None:
        fields = " and ".join(parameters.get("embedded_fields") or ("unknown fields",))
        yield (
            f"index {index} was made by es-ingest, which embeds {fields} of a record; the task's own corpus is"
            f" {task.own_corpus}"
        )
        if system.measured.documents != corpus:
            yield f"index {index} holds {system.measured.documents:,} documents, the task's own corpus {corpus:,}"
    elif system.measured.documents != corpus:
        blank = corpus - system.measured.documents
        yield f"{blank:,} documents of the corpus are not in the index, since their text is blank"
    if task.left_out:
        yield f"{task.left_out:,} rows of the source could not be read and are not in the corpus"
