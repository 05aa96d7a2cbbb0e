"""What the two embedders share: their parameters, serialisation and loading."""

from typing import Any, Self, TypedDict

from haystack import default_from_dict, default_to_dict, logging
from haystack.utils import ComponentDevice, Secret

from medte_haystack.components.shared_encoder import (
    EncoderOptions,
    device_name,
    max_tokens_of,
    refuse_foreign_options,
)
from medte_haystack.encoder import DEFAULT_MODEL, Encoder

logger = logging.getLogger(__name__)


class EmbedderOptions(TypedDict, total=False):
    """The parameters of :class:`Embedder`, for subclasses that pass them on."""

    model: str
    device: ComponentDevice | None
    token: Secret | None
    prefix: str | None
    suffix: str
    batch_size: int | None
    progress_bar: bool
    normalize_embeddings: bool
    trust_remote_code: bool
    local_files_only: bool
    truncate_dim: int | None
    model_kwargs: dict[str, Any] | None
    tokenizer_kwargs: dict[str, Any] | None
    config_kwargs: dict[str, Any] | None
    precision: str
    encode_kwargs: dict[str, Any] | None
    backend: str
    revision: str | None


class Embedder:
    """Base of the embedders; parameters have the names of the sentence-transformers embedders of Haystack."""

    def __init__(
        self,
        *,
        model: str = DEFAULT_MODEL,
        device: ComponentDevice | None = None,
        token: Secret | None = Secret.from_env_var(["HF_API_TOKEN", "HF_TOKEN"], strict=False),  # noqa: B008
        prefix: str | None = None,
        suffix: str = "",
        batch_size: int | None = None,
        progress_bar: bool = False,
        normalize_embeddings: bool = True,
        trust_remote_code: bool = False,
        local_files_only: bool = False,
        truncate_dim: int | None = None,
        model_kwargs: dict[str, Any] | None = None,
        tokenizer_kwargs: dict[str, Any] | None = None,
        config_kwargs: dict[str, Any] | None = None,
        precision: str = "auto",
        encode_kwargs: dict[str, Any] | None = None,
        backend: str = "torch",
        revision: str | None = None,
    ) -> None:
        """Store the parameters; the model is loaded by `warm_up` or the first `run`.

        :param model: Registry name (``medte``, ``minilm``, …), local folder, or hub id.
        :param device: Where to compute; None takes a GPU where there is one.
        :param token: Hub token.
        :param prefix: Put before the text; None takes what the model wants before a query or passage.
        :param suffix: Put behind the text.
        :param batch_size: Most texts computed together, beside the token budget; None leaves it to that.
        :param progress_bar: Show the progress of embedding documents.
        :param normalize_embeddings: Vectors have unit length in any case, as the index contract asks.
        :param trust_remote_code: Must stay False: a model's own code is never run.
        :param local_files_only: Never ask the hub.
        :param truncate_dim: Keep only the first dimensions.
        :param model_kwargs: Must stay empty.
        :param tokenizer_kwargs: ``{"model_max_length": n}`` cuts texts at n tokens; nothing else is known.
        :param config_kwargs: Must stay empty.
        :param precision: What is computed in; embeddings are floats in any case. ``auto`` is the fastest that keeps
            cosine 0.9999 to float32; else ``fp32`` (or ``float32``), ``bf16``, ``int8`` (CPU), ``fp8`` (GPU). To
            quantise what is stored, choose the index's quantisation.
        :param encode_kwargs: Must stay empty.
        :param backend: Must stay ``torch``: the fastest way to compute is chosen by `precision` and device.
        :param revision: Hub commit, tag or branch instead of the registry's.
        :raises EncoderOptionError: If an option cannot be honoured.
        """
        refuse_foreign_options(
            trust_remote_code=trust_remote_code,
            backend=backend,
            precision=precision,
            model_kwargs=model_kwargs,
            config_kwargs=config_kwargs,
            encode_kwargs=encode_kwargs,
        )
        if not normalize_embeddings:
            logger.warning("normalize_embeddings=False has no effect: vectors have unit length in any case")
        self.model = model
        self.device = device
        self.token = token
        self.prefix = prefix
        self.suffix = suffix
        self.batch_size = batch_size
        self.progress_bar = progress_bar
        self.normalize_embeddings = normalize_embeddings
        self.local_files_only = local_files_only
        self.truncate_dim = truncate_dim
        self.tokenizer_kwargs = tokenizer_kwargs
        self.precision = precision
        self.revision = revision
        self.encoder: Encoder | None = None
        max_tokens_of(tokenizer_kwargs)

    def to_dict(self, **more: Any) -> dict[str, Any]:
        """Return the component as a dictionary."""
        return default_to_dict(
            self,
            **more,
            model=self.model,
            device=self.device.to_dict() if self.device else None,
            token=self.token.to_dict() if self.token else None,
            prefix=self.prefix,
            suffix=self.suffix,
            batch_size=self.batch_size,
            progress_bar=self.progress_bar,
            normalize_embeddings=self.normalize_embeddings,
            local_files_only=self.local_files_only,
            truncate_dim=self.truncate_dim,
            tokenizer_kwargs=self.tokenizer_kwargs,
            precision=self.precision,
            revision=self.revision,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Return the component that a dictionary describes."""
        component: Self = default_from_dict(cls, data)
        return component

    def warm_up(self) -> None:
        """Load the model, unless it is loaded.

        :raises ModelNotAvailableError: If its files cannot be had.
        :raises ModelError: If they are damaged or do not fit together.
        """
        if self.encoder is None:
            self.encoder = EncoderOptions(
                model=self.model,
                device=device_name(self.device),
                precision=self.precision,
                max_tokens=max_tokens_of(self.tokenizer_kwargs),
                truncate_dim=self.truncate_dim,
                revision=self.revision,
                local_files_only=self.local_files_only,
                token=self.token,
            ).load()

    def _loaded(self) -> Encoder:
        self.warm_up()
        assert self.encoder is not None  # noqa: S101  warm_up set it
        return self.encoder
