"""A training run from pairs to a model with its card; the same run again goes on where one stopped."""

import logging
import os
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from filelock import FileLock, Timeout

from medte_haystack.encoder import Encoder, Tokeniser, locate
from medte_haystack.encoder.backends.cache import cache_folder
from medte_haystack.encoder.backends.sentence_transformers import quiet
from medte_haystack.errors import TrainingConfigError
from medte_haystack.training import record as records
from medte_haystack.training.card import write_card
from medte_haystack.training.checks import check_data, check_device
from medte_haystack.training.collate import Collator
from medte_haystack.training.config import Config
from medte_haystack.training.following import Following
from medte_haystack.training.locality import Localities, embed_positives
from medte_haystack.training.loss import make_loss
from medte_haystack.training.model import (
    average,
    check_finite,
    describe_base,
    load_model,
    save_model,
    set_dropout,
    unwritten,
    write_files,
)
from medte_haystack.training.pairs import Pair
from medte_haystack.training.record import Trained
from medte_haystack.training.sampling import Regions, StepBatches, as_one, everywhere
from medte_haystack.training.table import PairTable
from medte_haystack.training.trainer import ContrastiveTrainer, arguments, undisturbed

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger(__name__)

Evaluate = Callable[[Path], Mapping[str, float]]
"""Scores the model in a folder: main scores by task, and their `mean`."""
_PACKAGES = ("medte", "sentence-transformers", "transformers", "torch", "accelerate")


def train(config: Config, pairs: Iterable[Pair], folder: Path, evaluate: Evaluate | None = None) -> Trained:
    """Train a model.

    The folder holds the run: `run.json` (what decides the weights), checkpoints, `log.jsonl`, `logs` for TensorBoard,
    and in the end `model` with its card and `scores.json`. A run that was ended goes on from its last whole checkpoint,
    with the same bits on a CPU as if it had not been. Started by ``accelerate launch`` on several GPUs, each computes
    its part of every batch.

    :param pairs: Streamed once.
    :param folder: Of this run alone; made if it is missing.
    :param evaluate: Scores models; needed if the configuration names tasks.
    :raises TrainingConfigError: If the configuration does not fit the machine, the model or what the folder holds.
    :raises TrainingDataError: If the pairs cannot be used.
    :raises TrainingOutputError: If a file cannot be written.
    :raises ModelNotAvailableError: If the base model cannot be had.
    :raises ModelError: If it is damaged.
    """
    started = time.perf_counter()
    if config.evaluation.tasks and evaluate is None:
        raise TrainingConfigError("evaluation.tasks are named, and nothing is given that runs them")
    device = config.run.device or ("cuda" if torch.cuda.is_available() else "cpu")
    check_device(config, device)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritten(folder, error) from error
    with _alone(folder), undisturbed(), quiet():
        return _Run(config, folder, evaluate, device).go(pairs, started)


def _alone(folder: Path) -> AbstractContextManager[object]:
    """Keep other runs out of the folder; of several processes of one run the first does.

    :raises TrainingConfigError: If one is under way.
    """
    if os.environ.get("RANK", "0") != "0":
        return nullcontext()
    try:
        return FileLock(folder / ".lock").acquire(timeout=0)
    except Timeout:
        raise TrainingConfigError(
            f"another run writes to {folder}; wait for it, or name another folder with --out"
        ) from None
    except OSError as error:
        raise unwritten(folder, error) from error


class _Run:
    """One run, step by step."""

    def __init__(self, config: Config, folder: Path, evaluate: Evaluate | None, device: str) -> None:
        self.config, self.folder, self.evaluate = config, folder, evaluate
        self.device = device
        self.args = arguments(config, folder, device)
        self.files = locate(config.model.base)
        dim, kept = self.files.spec.full_dim or self.files.spec.dim, config.output.truncate_dim
        if kept is not None and kept > dim:
            raise TrainingConfigError(f"output.truncate_dim is {kept}, and the model has {dim} dimensions; take fewer")
        self.leads = self.args.process_index == 0

    def go(self, pairs: Iterable[Pair], started: float) -> Trained:
        """Do what is left to do."""
        data = self.config.data
        self.table = PairTable(pairs, self.folder, negatives=data.negatives)
        if self.args.world_size > 1 and data.negatives:  # devices exchange equally many
            self.table.keep_complete(together=not data.one_source_per_batch)
        with self.args.main_process_first(local=False):
            checkpoint = records.last_checkpoint(self.folder)
        model_folder = self.folder / records.MODEL
        if checkpoint or model_folder.exists():
            records.check_same_run(self.folder, self.record)
        if model_folder.exists():
            logger.info("%s is trained already", model_folder)
            found = records.read_json_object(self.folder / records.SCORES)
            return Trained(model_folder, found.get("steps", 0), self.sources, found.get("scores", {}), 0.0, before=True)
        check_data(data, self.table)
        trainer = self._trainer()
        with undisturbed():
            scores = self._base_scores()
        self._learn(trainer, checkpoint)
        steps, history = trainer.state.global_step, trainer.state.log_history
        if self.leads:
            self._finish(trainer.model, steps, history, scores)
        trainer.accelerator.wait_for_everyone()
        return Trained(model_folder, steps, self.sources, scores, time.perf_counter() - started)

    def _learn(self, trainer: ContrastiveTrainer, checkpoint: Path | None) -> None:
        """Train, from a checkpoint on if there is one, unless it had stopped early there."""
        if checkpoint is None:
            trainer.train()
            return
        steps = {"save_steps": self.args.save_steps, "logging_steps": self.args.logging_steps}
        with self.args.main_process_first(local=False):
            vain = records.take_up(checkpoint, **steps)
        if (patience := self.config.evaluation.patience) and vain >= patience:
            trainer.stop_where(checkpoint)
        else:
            trainer.train(resume_from_checkpoint=str(checkpoint))

    @cached_property
    def record(self) -> dict[str, Any]:
        """What decides the weights, and what made them."""
        batches = self.config.batches
        return {
            "config": self.config.model_dump(mode="json"),
            "pairs_sha256": self.table.fingerprint,
            "base": describe_base(self.files),
            "clusters_by": locate(batches.cluster_model).weights_sha256() if batches.kind == "locality" else None,
            "devices": self.args.world_size,
            "versions": {name: version(name) for name in _PACKAGES},
        }

    @cached_property
    def batches(self) -> StepBatches:
        """The batches of this device."""
        data, options, run = self.config.data, self.config.batches, self.config.run
        sources = self.table.sources if data.one_source_per_batch else as_one(self.table.sources)

        def made(steps: int | None) -> StepBatches:
            return StepBatches(
                sources,
                self.table,
                options.size,
                options.smallest or max(2, options.size // 2),
                run.seed,
                regions=lambda source, epoch: self._regions(source, epoch),  # only a run that is not done makes them
                temperature=data.mixing_temperature,
                weights=data.weights,
                steps=steps,
                part=(self.args.process_index, self.args.world_size),
            )

        return made(run.steps or max(1, round((run.epochs or 1) * len(made(None)))))

    @cached_property
    def sources(self) -> list[dict[str, Any]]:
        """What is used of each source, and its share of the batches."""
        whole = sum(self.batches.round.values())
        shares = {name: count / whole for name, count in self.batches.round.items()}
        pairs = sum(len(source.rows) for source in self.table.sources)
        return [
            {**source.to_dict(), "share": round(shares.get(source.name, len(source.rows) / pairs), 4)}
            for source in self.table.sources
        ]

    @cached_property
    def _regions(self) -> Regions:
        options = self.config.batches
        if options.kind == "random":
            return everywhere
        with self.args.main_process_first():
            encoder = Encoder.load(options.cluster_model, device=self.device)
            try:
                vectors = embed_positives(self.table, encoder, cache_folder() / "training")
            except OSError as error:
                raise unwritten(cache_folder() / "training", error) from error
        seed, first = self.config.run.seed, options.first_clusters
        return Localities(vectors, options.rows_per_cluster, options.cluster_sample, seed, first)

    def _base_scores(self) -> dict[str, dict[str, float]]:
        """Score the base model, unless this was done before the run was ended; and take note of the run."""
        found: dict[str, dict[str, float]] = records.read_json_object(self.folder / records.SCORES).get("scores", {})
        if not self.leads:
            return found
        same = records.read_json_object(self.folder / records.RECORD) == self.record
        scores = found if same else {}
        records.write_json(self.folder / records.RECORD, self.record)
        if self.evaluate is not None and "base" not in scores:
            scores = {"base": dict(self.evaluate(self.files.folder))}
            records.write_json(self.folder / records.SCORES, {"scores": scores})
        return scores

    def _trainer(self) -> ContrastiveTrainer:
        options = self.config.model
        self._regions  # noqa: B018  made now rather than amid the first epoch
        self.args.max_steps = len(self.batches)
        passages = Tokeniser.of(self.files, options.max_tokens)
        anchors = Tokeniser.of(self.files, options.anchor_max_tokens or options.max_tokens)
        model = self._load(max(passages.max_tokens, anchors.max_tokens))
        if self.config.run.gradient_checkpointing:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # sentence-transformers calls transformers' old name
                model.gradient_checkpointing_enable({"use_reentrant": False})
        size, devices = self.config.batches.size, self.args.world_size
        return ContrastiveTrainer(
            model,
            self.table,
            self.batches,
            self._collator(anchors, passages),
            self.config,
            make_loss(
                model,
                self.config.loss,
                -(-size // devices),
                negatives=self.config.data.negatives,
                devices=devices,
            ),
            self.args,
            self._score if self.evaluate is not None and self.config.evaluation.every else None,
            [Following(self.folder)] if self.leads else None,
        )

    def _load(self, max_tokens: int) -> "SentenceTransformer":
        options = self.config.model
        model = load_model(self.files, pooling=options.pooling, max_tokens=max_tokens, device=self.device)
        prefixes = {"query": options.anchor_prefix, "document": options.positive_prefix}
        model.prompts |= {name: prefix for name, prefix in prefixes.items() if prefix is not None}
        if options.dropout is not None:
            set_dropout(model, options.dropout)
        return model

    def _collator(self, anchors: Tokeniser, passages: Tokeniser) -> Collator:
        options, spec = self.config.model, self.files.spec
        return Collator(
            anchors,
            passages,
            spec.query_prefix if options.anchor_prefix is None else options.anchor_prefix,
            spec.passage_prefix if options.positive_prefix is None else options.positive_prefix,
            padding=int(records.read_json_object(self.files.folder / "config.json").get("pad_token_id") or 0),
        )

    def _score(self, model: "SentenceTransformer") -> dict[str, float]:
        """Score a model as it will be used: from its files, by our encoder."""
        assert self.evaluate is not None  # noqa: S101
        with TemporaryDirectory(prefix="medte-") as place:
            write_files(model, Path(place))
            return dict(self.evaluate(Path(place)))

    def _finish(
        self,
        model: "SentenceTransformer",
        steps: int,
        history: list[dict[str, float]],
        scores: dict[str, dict[str, float]],
    ) -> None:
        """Write the model, its scores and its card."""
        check_finite(model, steps)
        output = self.config.output
        if output.base_share:
            base = self._load(int(model.max_seq_length or 0)).state_dict()
            model.load_state_dict(average(model.state_dict(), base, output.base_share))
        model.truncate_dim = output.truncate_dim
        if self.evaluate is not None:
            scores["model"] = self._score(model)
        found = {"steps": steps, "scores": scores}
        records.write_json(self.folder / records.SCORES, found)
        cleaned = records.read_json_object(self.folder / records.DECONTAMINATION)
        card = write_card(self.record, self.sources, steps, history, scores, cleaned)
        save_model(model, self.folder / records.MODEL, card)
