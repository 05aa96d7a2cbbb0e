"""What every system is to the command, beside what mteb's protocols ask of it."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

from mteb.models.model_meta import ModelMeta, ScoringFunction

from es_ingest.progress import Shown
from medte_haystack.encoder import Encoder

ShowProgress = Callable[[Callable[[], Iterable[Any]]], AbstractContextManager[Shown]]
"""Takes what counts the records, gives what is told how far it is: `es_ingest.progress.shown` with its console."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a system did for the task at hand.

    :param documents: Documents it searches.
    :param chunks: Vectors it searches.
    :param truncated: Texts that lost their end because they did not fit the model.
    :param index_seconds: Time until it could search.
    :param search_seconds: Time of all queries, encoding them included; None leaves it to mteb's phases.
    """

    documents: int = 0
    chunks: int = 0
    truncated: int = 0
    index_seconds: float = 0.0
    search_seconds: float | None = None


class System(Protocol):
    """A system under evaluation; it implements mteb's EncoderProtocol or SearchProtocol too.

    :param name: Its name in the registry.
    :param encoder: The model.
    :param measured: Of the last task.
    """

    name: str
    encoder: Encoder
    measured: Measured
    mteb_model_meta: ModelMeta

    def parameters(self) -> dict[str, Any]:
        """Return everything that decides its results, beside model and task."""
        ...


class _Silent:
    def update(self, *, records: int, chunks: int, tokens: int) -> None:
        """Show nothing."""


def silent(count: Callable[[], Iterable[Any]]) -> AbstractContextManager[Shown]:  # noqa: ARG001
    """Show no progress."""
    return nullcontext(_Silent())


def model_meta(encoder: Encoder) -> ModelMeta:
    """Describe a loaded model to mteb, which then needs no model card."""
    spec = encoder.spec
    name = spec.hub_id or spec.name
    return ModelMeta(
        loader=None,
        name=name if "/" in name else f"local/{name}",
        revision=spec.revision or encoder.weights_sha256,
        release_date=None,
        languages=["eng-Latn"],
        n_parameters=None,
        memory_usage_mb=None,
        max_tokens=encoder.max_tokens,
        embed_dim=encoder.dim,
        license=None,
        open_weights=True,
        public_training_code=None,
        public_training_data=None,
        framework=["PyTorch"],
        similarity_fn_name=ScoringFunction.COSINE,
        use_instructions=bool(spec.query_prefix or spec.passage_prefix),
        training_datasets=None,
    )
