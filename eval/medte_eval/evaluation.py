"""What `medte-eval run` and `tune` are asked for: which tasks on which systems, with which model."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from es_ingest.records import ReadError
from medte_eval.systems import ChosenSystem, SystemOptions, UnknownSystemError, find_systems
from medte_eval.tasks import TaskOptions, TaskRow, UnknownTaskError, find_tasks, not_built, task_names
from medte_eval.tasks.benchmark import NAME
from medte_eval.weights import WeightsError, parse_weights

if TYPE_CHECKING:
    from mteb.abstasks import AbsTask

    from medte_haystack.encoder import Encoder

ASKED_WRONGLY = (UnknownTaskError, UnknownSystemError, WeightsError)
"""What can be wrong with it before anything is run."""


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model that was asked for, and how it shall compute; see `Encoder.load`.

    :param name: None takes the given index's, or the default.
    :param prefixes: Whether it puts its prefixes before queries and passages.
    """

    name: str | None
    device: str | None
    precision: str
    max_tokens: int | None
    prefixes: bool = True

    def load(self, name: str) -> "Encoder":
        """Load the model of a name, which may be the index's."""
        from medte_haystack.encoder import Encoder

        encoder = Encoder.load(name, device=self.device, precision=self.precision, max_tokens=self.max_tokens)
        if not self.prefixes:
            bare = replace(encoder.spec, query_prefix="", passage_prefix="")
            encoder.files = replace(encoder.files, spec=bare)
        return encoder


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Tasks on systems.

    :param tasks: In the order in which they are run.
    :param missing: Of the benchmark, where all of it was asked for: each fails with its error.
    :param systems: Each task is run on all of them.
    :param options: Of the systems.
    :param model: The model.
    :param latency_queries: See `medte_eval.run.evaluate`.
    :param notes_may_leave: See `medte_eval.session.run_all`.
    """

    tasks: Sequence[tuple[TaskRow, TaskOptions]]
    missing: Sequence[ReadError]
    systems: Sequence[ChosenSystem]
    options: SystemOptions
    model: ModelChoice
    latency_queries: int
    notes_may_leave: bool

    @classmethod
    def of(
        cls,
        *,
        tasks: str,
        system: str,
        model: str | None,
        max_tokens: int | None,
        data: Path | None,
        data_dir: Path | None,
        queries: int | None,
        top_k: int,
        index: str | None,
        quantisation: str | None,
        chunk_tokens: int | None,
        analyzer: str,
        num_candidates: int | None,
        oversample: float | None,
        notes_may_leave: bool,
        no_prefixes: bool,
        device: str | None,
        precision: str,
        fusion: str | None = None,
        weights: str | None = None,
        own_stores: bool = False,
        latency_queries: int = 0,
    ) -> Self:
        """Look up what the options of `run` or `tune` name; the parameters are called as these are.

        :raises UnknownTaskError: If a task is not known, or none takes what is given for it.
        :raises UnknownSystemError: If a system is not known, or none takes an option.
        :raises WeightsError: If the weights are neither two numbers nor a file of them.
        :raises ReadError: If all of the benchmark is asked for, and nothing is built.
        """
        learned = None if weights is None else parse_weights(weights)
        options = SystemOptions(
            index=index,
            quantisation=quantisation,
            chunk_tokens=chunk_tokens,
            num_candidates=num_candidates,
            oversample=oversample,
            fusion=fusion or (learned.fusion if learned else None),
            weights=learned.weights if learned else None,
            learned_from=(learned.task, learned.queries) if learned and learned.task else None,
            own_stores=own_stores or None,
            analyzer=None if analyzer == "auto" else analyzer,
        )
        names = task_names(tasks)
        chosen = find_tasks(names, data=data, queries=queries, top_k=top_k, data_dir=data_dir)
        systems = find_systems([name.strip() for name in system.split(",") if name.strip()], options)
        if no_prefixes and any(one.row.name == "pipeline" for one in systems):
            raise UnknownSystemError(
                "--no-prefixes is for models that are named here; a pipeline's own are as its file has them"
            )
        its = ModelChoice(model, device, precision, max_tokens, prefixes=not no_prefixes)
        missing = not_built(data_dir) if NAME in names else []
        return cls(chosen, missing, systems, options, its, latency_queries, notes_may_leave)

    def made(self) -> Iterator[tuple[str, "Callable[[], AbsTask]"]]:
        """Give the tasks' names and what makes them."""
        for row, its in self.tasks:
            yield row.name, partial(row.make, its)
        for error in self.missing:
            yield error.path, partial(_fail, error)


def _fail(error: ReadError) -> "AbsTask":
    raise error
