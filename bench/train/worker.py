"""One way of training, alone in a process: prints the seconds of each step, and the memory of a GPU, as JSON."""

import json
import logging
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from es_ingest.data import medquad_sample
from es_ingest.readers import read
from es_ingest.records import Record
from medte_haystack.encoder import Tokeniser, locate
from medte_haystack.training.config import Config
from medte_haystack.training.loss import make_loss
from medte_haystack.training.model import load_model
from medte_haystack.training.pairs import Pair
from medte_haystack.training.run import train
from medte_haystack.training.sampling import StepBatches
from medte_haystack.training.table import PairTable
from medte_haystack.training.trainer import arguments
from medte_train.pair_files import read_pairs

OURS, THEIRS = "ours", "sentence-transformers"


@dataclass(frozen=True)
class Settings:
    """What both ways are told.

    :param pairs: Files of pairs; none for questions and answers of the MedQuAD sample.
    :param mini_batch_tokens: Of ours alone, instead of `mini_batch`; None for none.
    """

    model: str
    batch: int
    mini_batch: int
    mini_batch_tokens: int | None
    max_tokens: int
    steps: int
    precision: str
    device: str
    symmetric: bool
    gradient_checkpointing: bool
    pairs: tuple[str, ...]

    def config(self) -> Config:
        """Return a run's configuration."""
        loss = {"symmetric": self.symmetric, "mini_batch": self.mini_batch, "mini_batch_tokens": self.mini_batch_tokens}
        run = {"steps": self.steps, "precision": self.precision, "device": self.device, "log_every": 1}
        return Config.model_validate(
            {
                "model": {"base": self.model, "max_tokens": self.max_tokens},
                "batches": {"size": self.batch, "smallest": self.batch},
                "loss": loss,
                "run": {**run, "gradient_checkpointing": self.gradient_checkpointing},
                "checkpoints": {"every": 10**9},
            }
        )


def pairs_of(settings: Settings) -> Iterator[Pair]:
    """Stream the pairs."""
    if settings.pairs:
        yield from read_pairs(settings.pairs)
        return
    for item in read([str(medquad_sample())], "medquad"):
        if isinstance(item, Record) and item.meta.get("question"):
            yield Pair(item.id, "medquad", item.meta["question"], item.text)


def train_ours(settings: Settings, folder: Path) -> list[float]:
    """Train by `medte-train run`'s code and return when each step ended."""
    times: list[float] = []

    class Clock(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002
            times.append(time.perf_counter())

    logger = logging.getLogger("medte_haystack.training.following")  # it has a note for each step
    logger.setLevel(logging.INFO)
    logger.addHandler(Clock())
    train(settings.config(), pairs_of(settings), folder)
    return times[: settings.steps]


def train_theirs(settings: Settings, folder: Path) -> list[float]:
    """Train by their trainer, with their data sets, collator and samplers, on the very rows of our batches."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer
    from sentence_transformers.sentence_transformer.training_args import BatchSamplers
    from torch.utils.data import SequentialSampler
    from transformers import PrinterCallback, TrainerCallback

    times: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: object, **__: object) -> None:
            times.append(time.perf_counter())

    class InOrder(SentenceTransformerTrainer):
        def get_batch_sampler(self, dataset: Any, batch_size: int, drop_last: bool, **options: Any) -> Any:
            assert self.args.batch_sampler == BatchSamplers.BATCH_SAMPLER
            from sentence_transformers.base.sampler import DefaultBatchSampler

            return DefaultBatchSampler(SequentialSampler(dataset), batch_size, drop_last, **options)

    config = settings.config()
    table = PairTable(pairs_of(settings), folder)
    batches = StepBatches(table.sources, table, settings.batch, settings.batch, config.run.seed, steps=settings.steps)
    rows = [table[row] for batch in batches for row in batch]
    files = locate(settings.model)
    model = load_model(files, max_tokens=Tokeniser.of(files, settings.max_tokens).max_tokens, device=settings.device)
    args = arguments(config, folder, settings.device)
    args.max_steps = settings.steps
    args.per_device_train_batch_size = settings.batch
    args.gradient_checkpointing = settings.gradient_checkpointing
    trainer = InOrder(
        model=model,
        args=args,
        train_dataset=Dataset.from_dict(
            {"anchor": [row.anchor for row in rows], "positive": [row.positive for row in rows]}
        ),
        loss=make_loss(model, config.loss.model_copy(update={"mini_batch_tokens": None}), settings.batch),
        callbacks=[Clock()],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return times


def main() -> None:
    """Train one way and print."""
    way, given = sys.argv[1], json.loads(sys.argv[2])
    settings = Settings(**{**given, "pairs": tuple(given["pairs"])})
    with tempfile.TemporaryDirectory() as folder:
        times = {OURS: train_ours, THEIRS: train_theirs}[way](settings, Path(folder))
    gpu = torch.cuda.max_memory_allocated() if settings.device == "cuda" else None
    print(json.dumps({"seconds": [after - before for before, after in pairwise(times)], "gpu_bytes": gpu}))


if __name__ == "__main__":
    main()
