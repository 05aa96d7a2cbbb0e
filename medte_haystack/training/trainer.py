"""sentence-transformers' trainer with our batches, our checkpoints and no texts in what it writes."""

import logging
import math
import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.evaluation import SentenceEvaluator
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from torch.utils.data import DataLoader
from transformers import EarlyStoppingCallback, PrinterCallback, TrainerCallback, TrainerState
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from medte_haystack.errors import ModelError
from medte_haystack.training.collate import Collator
from medte_haystack.training.config import Config
from medte_haystack.training.model import check_finite, unwritten, write_files
from medte_haystack.training.sampling import StepBatches
from medte_haystack.training.table import PairTable

logger = logging.getLogger(__name__)

Score = Callable[[SentenceTransformer], Mapping[str, float]]
"""Scores a model: numbers by name, `mean` among them."""
_DEFAULT_EVERY = 500  # steps between checkpoints


def arguments(config: Config, folder: Path, device: str) -> SentenceTransformerTrainingArguments:
    """Return a run's settings as the library calls them, but for its length.

    :param folder: For checkpoints.
    :param device: ``cpu`` or ``cuda``.
    """
    run, optimiser, evaluation = config.run, config.optimiser, config.evaluation
    args = SentenceTransformerTrainingArguments(
        output_dir=str(folder.absolute()),
        learning_rate=optimiser.learning_rate,
        weight_decay=optimiser.weight_decay,
        adam_beta1=optimiser.betas[0],
        adam_beta2=optimiser.betas[1],
        adam_epsilon=optimiser.epsilon,
        max_grad_norm=optimiser.clip,
        bf16=run.precision == "bf16",
        seed=run.seed,
        use_cpu=device == "cpu",
        logging_steps=run.log_every,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        save_steps=config.checkpoints.every or evaluation.every or _DEFAULT_EVERY,
        save_total_limit=config.checkpoints.keep,
        eval_strategy="steps" if evaluation.every else "no",
        eval_steps=evaluation.every,
        load_best_model_at_end=evaluation.keep_best,
        metric_for_best_model=f"eval_{evaluation.score}" if evaluation.keep_best else None,
        greater_is_better=True,
        restore_callback_states_from_checkpoint=True,
        dataloader_drop_last=True,
        report_to="none",
        disable_tqdm=True,
    )
    if args.world_size == 1:
        args._n_gpu = min(args.n_gpu, 1)  # several GPUs are for `accelerate launch`, never for threads of one process
    return args


class ContrastiveTrainer(SentenceTransformerTrainer):
    """Goes through `StepBatches`; one epoch of the library's is the whole run.

    :param table: The pairs.
    :param batches: Which of them each step takes.
    :param collate: Makes the model's inputs of them.
    :param config: The run's.
    :param loss: Of the model.
    :param args: Of `arguments`, with the number of steps.
    :param score: Scores the model; None where nothing is evaluated on the way.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        table: PairTable,
        batches: StepBatches,
        collate: Collator,
        config: Config,
        loss: nn.Module,
        args: SentenceTransformerTrainingArguments,
        score: Score | None = None,
        callbacks: list[TrainerCallback] | None = None,
    ) -> None:
        self._table, self._batches, self._collate = table, batches, collate
        self._folder = Path(str(args.output_dir))
        self._config = config
        stopping = [EarlyStoppingCallback(config.evaluation.patience)] if config.evaluation.patience else []
        super().__init__(
            model=model,
            args=args,
            loss=loss,
            evaluator=None if score is None else _Evaluator(score),
            callbacks=[*(callbacks or []), *stopping],
        )
        self.remove_callback(PrinterCallback)  # it prints to stdout

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return the batches; they are this device's own part already, so nobody else has to split them."""
        options = self._config.run
        return DataLoader(
            self._table,  # type: ignore[arg-type]  # it has all of a data set that is read by row numbers
            batch_sampler=self._batches,
            collate_fn=self._collate,
            num_workers=options.workers,
            pin_memory=self.args.device.type == "cuda",
        )

    def create_scheduler(self, num_training_steps: int, optimizer: Optimizer | None = None) -> LRScheduler:
        """Make the learning rate's course."""
        if self.lr_scheduler is None:
            options = self._config.optimiser
            warmup = options.warmup if options.warmup >= 1 else round(options.warmup * num_training_steps)
            course = Course(int(warmup), num_training_steps, options.warmup_shape, options.schedule)
            optimizer = self.optimizer if optimizer is None else optimizer
            assert optimizer is not None  # noqa: S101  it is made before
            self.lr_scheduler = LambdaLR(optimizer, course)
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Score the model without a trace in what follows."""
        with undisturbed():
            return super().evaluate(*args, **kwargs)

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """Add none: the library's card would show texts of the training data."""

    def _save(self, output_dir: str | None = None, state_dict: object = None) -> None:  # noqa: ARG002
        write_files(self.model, Path(output_dir or self._folder))

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        self.accelerator.wait_for_everyone()  # what comes next says that a checkpoint is whole

    def _load_best_model(self) -> None:
        """Load the best weights; the library goes on with the last ones where that fails."""
        best = str(self.state.best_model_checkpoint)
        try:
            self._load_from_checkpoint(best)
        except Exception as error:
            raise ModelError(f"the best weights, in {best}, cannot be loaded ({error})", path=best) from error

    def stop_where(self, checkpoint: Path) -> None:
        """Take over how a run had ended that had no more to learn, and its best weights."""
        self.state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
        self._load_best_model()

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        check_finite(self.model, self.state.global_step)
        place = self._folder / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        try:
            super()._save_checkpoint(model, trial)
        except Exception as error:
            shutil.rmtree(place, ignore_errors=True)
            raise unwritten(place, error) from error
        logger.info("step %d: %s", self.state.global_step, place)


class Course:
    """The learning rate as a factor of its highest, by step.

    :param warmup: Steps in which it rises.
    :param steps: Steps in all.
    :param shape: ``linear``: (step + 1) / warmup; ``log``: log(step + 1) / log(warmup), DeepSpeed's WarmupLR's default.
    :param schedule: What follows: ``constant``, or to 0 as ``linear`` or ``cosine``.
    """

    def __init__(self, warmup: int, steps: int, shape: str, schedule: str) -> None:
        self._warmup, self._steps = warmup, steps
        self._shape, self._schedule = shape, schedule

    def __call__(self, step: int) -> float:
        """Return the factor of a step, counted from 0."""
        if step < self._warmup:
            if self._shape == "log":
                return min(1.0, math.log(step + 1) / math.log(max(2, self._warmup)))
            return (step + 1) / self._warmup
        done = (step - self._warmup) / max(1, self._steps - self._warmup)
        if self._schedule == "linear":
            return max(0.0, 1 - done)
        if self._schedule == "cosine":
            return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
        return 1.0


class _Evaluator(SentenceEvaluator):
    """Scores the model in the library's way."""

    def __init__(self, score: Score) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._score = score

    def __call__(
        self,
        model: SentenceTransformer,  # type: ignore[override]
        output_path: str | None = None,  # noqa: ARG002
        epoch: float = -1,  # noqa: ARG002
        steps: int = -1,  # noqa: ARG002
    ) -> dict[str, float]:
        return dict(self._score(model))


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let random numbers go on afterwards as if nothing had been."""
    states = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
