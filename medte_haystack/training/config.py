"""What a training run is told, checked key by key: the tables of its TOML file."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[int, Field(ge=1)]
Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Model(_Table):
    """The model to start from.

    :param base: Registry name, local folder or hub id.
    :param max_tokens: Longest text 2 in tokens, special tokens included; None for the model's own.
    :param anchor_max_tokens: Longest text 1; None for the same.
    :param pooling: None for the model's own.
    :param dropout: Share of activations set to 0 at random; None for what the model's files say. Without any,
        a step on a CPU takes two thirds of the time.
    :param anchor_prefix: Put before text 1; None for the model's prefix of queries.
    :param positive_prefix: Put before text 2 and negatives; None for the model's prefix of passages.
    """

    base: str = "minilm"
    max_tokens: Annotated[int, Field(ge=3)] | None = None
    anchor_max_tokens: Annotated[int, Field(ge=3)] | None = None
    pooling: Literal["mean", "cls"] | None = None
    dropout: Share | None = None
    anchor_prefix: str | None = None
    positive_prefix: str | None = None


class Data(_Table):
    """The pairs and how their sources are mixed.

    A source's share of the batches grows with ``weight * batches ** (1 / mixing_temperature)``, where `batches` is how
    many its pairs make: 1 gives each pair the same chance, more evens the sources out.

    :param pairs: Files of pairs, or folders of them.
    :param mixing_temperature: See above.
    :param weights: By source; 1 for those it does not name.
    :param one_source_per_batch: Whether negatives come from the pair's own source alone.
    :param negatives: Most hard negatives used of a pair; 0 leaves them out.
    :param decontaminate: Whether pairs that occur in evaluation data are left out; see ``medte-train decontaminate``.
    :param decontaminate_against: Tasks and files of evaluation data beside ``evaluation.tasks``.
    """

    pairs: tuple[str, ...] = ("pairs",)
    mixing_temperature: Weight = 1.0
    weights: dict[str, Weight] = {}
    one_source_per_batch: bool = True
    negatives: Annotated[int, Field(ge=0, le=64)] = 0
    decontaminate: bool = True
    decontaminate_against: tuple[str, ...] = ()


class Batches(_Table):
    """How a source's pairs are cut into batches; see `sampling` and `locality`.

    :param size: Pairs of a batch, over all devices.
    :param kind: ``random``, or ``locality`` for batches out of one region of a source.
    :param smallest: Least pairs of a batch; the rest of an epoch or region that is smaller is left out. None for half
        the size.
    :param rows_per_cluster: Of locality: pairs of a region once the regions have become small.
    :param first_clusters: Of locality: regions of a source in its first epoch; each later one has two more.
    :param cluster_model: Of locality: what embeds text 2.
    :param cluster_sample: Of locality: most pairs of a source that the clusters are fitted on.
    """

    size: Annotated[int, Field(ge=2)] = 192
    kind: Literal["random", "locality"] = "random"
    smallest: Annotated[int, Field(ge=2)] | None = None
    rows_per_cluster: Positive = 16_000
    first_clusters: Positive = 1
    cluster_model: str = "minilm"
    cluster_sample: Positive = 200_000


class Loss(_Table):
    """InfoNCE with the other texts 2 of the batch, and hard negatives where there are any, as negatives.

    :param temperature: What cosines are divided by.
    :param symmetric: Ask text 2 for its text 1 as well; the loss is the mean of both.
    :param mini_batch: Texts computed at a time. Less than a batch caches gradients: memory stays that of a mini-batch.
    :param mini_batch_tokens: Most tokens computed at a time, instead of texts.
    :param matryoshka: Dimensions at which the loss is computed, the model's own among them; none for its own alone.
    :param matryoshka_weights: One for each of them; none for 1.
    """

    temperature: Weight = 0.05
    symmetric: bool = False
    mini_batch: Positive = 32
    mini_batch_tokens: Positive | None = None
    matryoshka: tuple[Positive, ...] = ()
    matryoshka_weights: tuple[Weight, ...] = ()


class Optimiser(_Table):
    """AdamW and its learning rate.

    :param warmup: Steps in which the rate rises from 0; below 1 a share of all steps.
    :param warmup_shape: ``linear``, or ``log`` as DeepSpeed's WarmupLR.
    :param schedule: What follows: ``constant``, or down to 0 as ``linear`` or ``cosine``.
    :param clip: Largest norm of the gradient; 0 for none.
    """

    learning_rate: Weight = 3e-5
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    betas: tuple[Share, Share] = (0.9, 0.999)
    epsilon: Weight = 1e-8
    clip: Annotated[float, Field(ge=0)] = 1.0
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    warmup: Annotated[float, Field(ge=0)] = 0.1
    warmup_shape: Literal["linear", "log"] = "linear"


class Run(_Table):
    """How long, in what and where.

    :param steps: Batches in all; or
    :param epochs: as many as make every pair come so often.
    :param precision: ``bf16`` computes in bfloat16 on float32 weights.
    :param gradient_checkpointing: Keep no activations of a layer's inside; slower, with less memory.
    :param device: ``cpu`` or ``cuda``; None takes a GPU where there is one.
    :param workers: Processes that read and tokenise ahead.
    :param log_every: Steps.
    """

    steps: Positive | None = None
    epochs: Weight | None = None
    precision: Literal["bf16", "fp32"] = "bf16"
    gradient_checkpointing: bool = False
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    device: Literal["cpu", "cuda"] | None = None
    workers: Annotated[int, Field(ge=0)] = 0
    log_every: Positive = 10

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError(f"steps is {self.steps} and epochs {self.epochs}; give one of them")
        return self


class Checkpoints(_Table):
    """Checkpoints.

    :param every: Steps; None for those of the evaluation, else 500.
    :param keep: How many stay, the best among them.
    """

    every: Positive | None = None
    keep: Positive = 2


class Evaluation(_Table):
    """Scores while training, before it, and after.

    :param tasks: As ``medte-eval run --tasks`` takes them.
    :param data: Data of the tasks instead of their own, as ``--data`` there.
    :param data_dir: Folder of built tasks, as ``--data-dir`` there.
    :param queries: Ask only so many random queries.
    :param every: Steps; None evaluates before and after alone.
    :param score: What decides which weights are the best: ``mean`` of the tasks' main scores, or a task's name.
    :param keep_best: End with the weights that scored best, not with the last.
    :param patience: Stop after so many evaluations without a better one; None never does.
    """

    tasks: tuple[str, ...] = ()
    data: str | None = None
    data_dir: str | None = None
    queries: Positive | None = None
    every: Positive | None = None
    score: str = "mean"
    keep_best: bool = False
    patience: Positive | None = None

    @model_validator(mode="after")
    def _has_tasks(self) -> Self:
        if self.every is not None and not self.tasks:
            raise ValueError("every is given without tasks; name tasks, or leave it out")
        if (self.keep_best or self.patience) and self.every is None:
            raise ValueError("keep_best and patience need every, the steps between two evaluations")
        if self.patience and not self.keep_best:
            raise ValueError("patience needs keep_best = true")
        return self


class Output(_Table):
    """The model that is written.

    :param base_share: Average the weights with those of the base model, which get this share (WiSE-FT,
        https://arxiv.org/abs/2109.01903); 0 leaves them.
    :param truncate_dim: Dimensions that the model's files tell encoders to keep; None for all.
    :param licence: Licence of the weights, for the model card.
    """

    base_share: Share = 0.0
    truncate_dim: Positive | None = None
    licence: str | None = None


class Config(_Table):
    """A training run."""

    model: Model = Model()
    data: Data = Data()
    batches: Batches = Batches()
    loss: Loss = Loss()
    optimiser: Optimiser = Optimiser()
    run: Run
    checkpoints: Checkpoints = Checkpoints()
    evaluation: Evaluation = Evaluation()
    output: Output = Output()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        smallest, size = self.batches.smallest, self.batches.size
        if smallest is not None and smallest > size:
            raise ValueError(f"batches.smallest is {smallest} and batches.size {size}; take no more than the size")
        if self.data.decontaminate_against and not self.data.decontaminate:
            raise ValueError("data.decontaminate_against is given and data.decontaminate false; leave one of them out")
        mixed = self.data.weights or self.data.mixing_temperature != 1
        if mixed and not self.data.one_source_per_batch:
            raise ValueError(
                "data.weights and data.mixing_temperature are for batches of one source; leave them out, or set"
                " data.one_source_per_batch = true"
            )
        weights, dims = self.loss.matryoshka_weights, self.loss.matryoshka
        if weights and len(weights) != len(dims):
            raise ValueError(
                f"loss.matryoshka_weights are {len(weights)} for {len(dims)} dimensions; give one for each"
            )
        if len(set(dims)) != len(dims):
            raise ValueError(f"loss.matryoshka is {list(dims)}; name each dimension once")
        every, evaluated = self.checkpoints.every, self.evaluation.every
        if self.evaluation.keep_best and every not in (None, evaluated):
            raise ValueError(
                f"checkpoints.every is {every} and evaluation.every {evaluated}: keep_best writes a checkpoint at each"
                " evaluation; leave checkpoints.every out"
            )
        return self
