"""Scores of a model on tasks of `medte-eval`, while it is trained and after."""

import logging
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from medte_haystack.encoder import Encoder
from medte_haystack.errors import TrainingConfigError
from medte_haystack.training.config import Evaluation

if TYPE_CHECKING:
    from mteb.abstasks import AbsTask

logger = logging.getLogger(__name__)

MEAN = "mean"


class TaskScores:
    """Scores the model in a folder, with our encoder alone, on the same tasks each time.

    :param options: The tasks.
    :param device: Where the encoder computes; None takes a GPU where there is one.
    :raises TrainingConfigError: If a task is not known, or what decides is none of them.
    :raises ReadError: If the benchmark is asked for and nothing of it is built.
    """

    def __init__(self, options: Evaluation, device: str | None) -> None:
        from medte_eval.tasks import UnknownTaskError, find_tasks

        self._device = device
        try:
            self._found = find_tasks(
                options.tasks,
                data=None if options.data is None else Path(options.data),
                queries=options.queries,
                data_dir=None if options.data_dir is None else Path(options.data_dir),
            )
        except UnknownTaskError as error:
            raise TrainingConfigError(f"evaluation.tasks: {error}") from None
        names = [row.name for row, _ in self._found]
        if options.score not in (MEAN, *names):
            raise TrainingConfigError(
                f"evaluation.score is {options.score!r}, which is none of the tasks; take {MEAN} or one of"
                f" {', '.join(names)}"
            )

    @cached_property
    def _tasks(self) -> "dict[str, AbsTask]":
        """The tasks by the names that they were asked for by, with their data."""
        tasks = {row.name: row.make(its) for row, its in self._found}
        for task in tasks.values():
            task.load_data()
        return tasks

    def __call__(self, folder: Path) -> dict[str, float]:
        """Return the main score of each task, in [0, 1], and their mean.

        :raises ReadError: If a task's data cannot be read.
        """
        from medte_eval.run import evaluate
        from medte_eval.systems.encoder import EncoderSystem

        system = EncoderSystem(Encoder.load(folder, device=self._device))
        scores = {}
        for name, task in self._tasks.items():
            outcome = evaluate(task, system)
            scores[name] = outcome.scores[outcome.main_score]
        return {**scores, MEAN: fmean(scores.values())}
