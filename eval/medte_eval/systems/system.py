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

    :param documents: Documents it searches, or texts it encoded.
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

    def __add__(self, other: "Measured") -> "Measured":
        times = [one for one in (self.search_seconds, other.search_seconds) if one is not None]
        return Measured(
            self.documents + other.documents,
            self.chunks + other.chunks,
            self.truncated + other.truncated,
            self.index_seconds + other.index_seconds,
            sum(times) if times else None,
        )


class System(Protocol):
    """A system under evaluation; it implements mteb's EncoderProtocol or SearchProtocol too.

    :param name: Its name in the registry.
    :param timed: What :meth:`answer` does.
    :param measured: Since :meth:`begin`; a task may have several corpora.
    """

    name: str
    timed: str
    measured: Measured
    mteb_model_meta: ModelMeta

    @property
    def encoder(self) -> Encoder | None:
        """The model; None for a system without one."""
        ...

    def begin(self) -> None:
        """Forget the task before."""
        ...

    def settings(self) -> dict[str, Any]:
        """Return everything that decides its results, beside model and task, as it is known before it runs."""
        ...

    def details(self) -> dict[str, Any]:
        """Return what else is to be kept of the last task: the index's mapping and size, how pairs were scored."""
        ...

    def refusal(self, task_type: str) -> str | None:
        """Return why it cannot run tasks of one of mteb's types; None if it can."""
        ...

    def answer(self, text: str, top_k: int) -> None:
        """Answer one query as a user would have it answered; what that takes is measured."""
        ...


class _Silent:
    def update(self, *, records: int, chunks: int, tokens: int) -> None:
        """Show nothing."""


def silent(count: Callable[[], Iterable[Any]]) -> AbstractContextManager[Shown]:  # noqa: ARG001
    """Show no progress."""
    return nullcontext(_Silent())


def model_meta(encoder: Encoder | None, name: str = "") -> ModelMeta:
    """Describe a loaded model to mteb, which then needs no model card.

    :param name: What to call a system without a model.
    """
    spec = None if encoder is None else encoder.spec
    name = name if spec is None else spec.hub_id or spec.name
    return ModelMeta(
        loader=None,
        name=name if "/" in name else f"local/{name}",
        revision="none" if encoder is None or spec is None else spec.revision or encoder.weights_sha256,
        release_date=None,
        languages=["eng-Latn"],
        n_parameters=None,
        memory_usage_mb=None,
        max_tokens=None if encoder is None else encoder.max_tokens,
        embed_dim=None if encoder is None else encoder.dim,
        license=None,
        open_weights=True,
        public_training_code=None,
        public_training_data=None,
        framework=["PyTorch"],
        similarity_fn_name=ScoringFunction.COSINE,
        use_instructions=spec is not None and bool(spec.query_prefix or spec.passage_prefix),
        training_datasets=None,
    )
