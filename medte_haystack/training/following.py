"""Tells how a run is going: notes, a log of numbers, and TensorBoard."""

import json
import logging
import math
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter
from transformers import TrainerCallback, TrainerState, TrainingArguments

from medte_haystack.training.model import no_number
from medte_haystack.training.record import LOG, write_text

logger = logging.getLogger(__name__)

LOGS = "logs"
_TOLD = {"loss": ".4f", "learning_rate": ".2e", "grad_norm": ".3f"}
_OF_TIME = ("_runtime", "_per_second", "total_flos")


class Following(TrainerCallback):
    """Writes each line of numbers into `log.jsonl`, as notes, and into TensorBoard's folder `logs`.

    A run that goes on continues its lines from the checkpoint's.

    :param folder: Of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._board: SummaryWriter | None = None

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, *_: object, **__: object) -> None:  # noqa: ARG002
        """Open TensorBoard's file; what an ended run had written behind the checkpoint is not shown."""
        self._board = SummaryWriter(str(self._folder / LOGS), purge_step=state.global_step + 1)

    def on_log(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        *_: object,
        logs: dict[str, float] | None = None,
        **__: object,
    ) -> None:
        """Write a line.

        :raises TrainingConfigError: If the loss is no number any more.
        """
        if not math.isfinite((logs or {}).get("loss", 0.0)):
            raise no_number(f"the loss is {(logs or {})['loss']}", state.global_step)
        lines = (json.dumps(_clean(entry)) for entry in state.log_history)
        write_text(self._folder / LOG, "".join(f"{line}\n" for line in lines))
        numbers = _clean(logs or {})
        if self._board is not None:
            for name, value in numbers.items():
                self._board.add_scalar(name.replace("eval_", "scores/", 1), value, state.global_step)
        shown = [f"{name} {value:{_TOLD.get(name, '.4f')}}" for name, value in numbers.items()]
        logger.info("step %d of %d: %s", state.global_step, state.max_steps, ", ".join(shown))

    def on_train_end(self, *_: object, **__: object) -> None:
        """Close TensorBoard's file."""
        if self._board is not None:
            self._board.close()


def _clean(entry: dict[str, Any]) -> dict[str, Any]:
    """Return what is the same however long a run took and how often it was ended, and no epochs: a run is one."""
    return {name: entry[name] for name in sorted(entry) if not name.endswith(_OF_TIME) and name != "epoch"}
