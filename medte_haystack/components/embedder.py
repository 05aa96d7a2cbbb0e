"""What the two embedders share: their parameters, serialisation and loading."""

import inspect
from dataclasses import dataclass, field
from difflib import get_close_matches
from os import PathLike, fspath
from typing import Any, Self

from haystack import default_from_dict, default_to_dict, logging
from haystack.utils import ComponentDevice, Secret

from medte_haystack.components.shared_encoder import (
    EncoderOptions,
    check_strings,
    check_whole_number,
    component_device,
    device_name,
    max_tokens_of,
    refuse_foreign_options,
)
from medte_haystack.encoder import DEFAULT_MODEL, Encoder, check_precision

logger = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False, repr=False)
class Embedder:
    """Stores the parameters; the model is loaded by `warm_up` or the first `run`.

    A component that is pickled or deep-copied leaves its loaded model behind and has it again at its first `run`.

    :param model: Registry name (``medte``, ``minilm``, …), local folder, or hub id.
    :param device: Where to compute: Haystack's `ComponentDevice`, or ``cpu``, ``cuda``, ``cuda:1``, ``mps``; for
        several GPUs ``cuda:all``, ``cuda:0,cuda:1`` or a device map. None takes a GPU where there is one.
    :param token: Hub token.
    :param prefix: Put before the text; None takes what the model wants before a query or passage.
    :param suffix: Put behind the text.
    :param batch_size: Most texts computed together, beside the token budget; None leaves it to that.
    :param progress_bar: Show the progress of embedding documents.
    :param normalize_embeddings: Vectors have unit length in any case, as the index contract asks.
    :param trust_remote_code: Must stay False: a model's own code is never run.
    :param local_files_only: Never ask the hub.
    :param truncate_dim: Keep only the first dimensions; None takes what the model's own files say.
    :param model_kwargs: Must stay empty.
    :param tokenizer_kwargs: ``{"model_max_length": n}`` cuts texts at n tokens; nothing else is known.
    :param config_kwargs: Must stay empty.
    :param precision: What is computed in; embeddings are floats in any case. ``auto`` is the fastest that keeps
        cosine 0.9999 to float32; else ``fp32`` (or ``float32``), ``bf16``, ``int8`` (CPU), ``fp8`` (GPU). To quantise
        what is stored, choose the index's quantisation.
    :param encode_kwargs: Must stay empty.
    :param backend: Must stay ``torch``: the fastest way to compute is chosen by `precision` and device.
    :param revision: Hub commit, tag or branch instead of the registry's.
    :param quantization_ranges: Must stay empty: embeddings are not quantised.
    :raises EncoderOptionError: If an option is wrong or cannot be honoured.
    :raises TypeError: If there is no such option.
    """

    model: str | PathLike[str] = DEFAULT_MODEL
    device: ComponentDevice | str | None = None
    token: Secret | None = Secret.from_env_var(["HF_API_TOKEN", "HF_TOKEN"], strict=False)  # noqa: RUF009  it cannot be changed
    prefix: str | None = None
    suffix: str = ""
    batch_size: int | None = None
    progress_bar: bool = False
    normalize_embeddings: bool = True
    trust_remote_code: bool = False
    local_files_only: bool = False
    truncate_dim: int | None = None
    model_kwargs: dict[str, Any] | None = None
    tokenizer_kwargs: dict[str, Any] | None = None
    config_kwargs: dict[str, Any] | None = None
    precision: str = "auto"
    encode_kwargs: dict[str, Any] | None = None
    backend: str = "torch"
    revision: str | None = None
    quantization_ranges: list[list[float]] | None = None
    encoder: Encoder | None = field(default=None, init=False)

    def __init_subclass__(cls) -> None:
        """Have `help` and `inspect` say the parameters, which Haystack's metaclass hides behind ``*args, **kwargs``."""
        signature = inspect.signature(cls.__init__)
        cls.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])  # type: ignore[attr-defined]
        cls.__init__.__doc__ = cls.__init__.__doc__ or Embedder.__doc__

    def __new__(cls, *_: object, **options: object) -> Self:
        """Refuse misspelt options, with a suggestion."""
        known = inspect.signature(cls).parameters
        takes_any = any(one.kind is one.VAR_KEYWORD for one in known.values())  # as a subclass may
        for name in options:
            if name not in known and not takes_any:
                near = get_close_matches(name, known, n=1)
                meant = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
                raise TypeError(f"{cls.__name__} has no option {name!r}; {meant}")
        return super().__new__(cls)

    def __post_init__(self) -> None:
        """Check the parameters."""
        refuse_foreign_options(
            trust_remote_code=self.trust_remote_code,
            backend=self.backend,
            precision=self.precision,
            model_kwargs=self.model_kwargs,
            config_kwargs=self.config_kwargs,
            encode_kwargs=self.encode_kwargs,
            quantization_ranges=self.quantization_ranges,
        )
        check_precision(self.precision)
        if isinstance(self.model, PathLike):
            self.model = fspath(self.model)
        check_strings(model=self.model, suffix=self.suffix)
        check_strings(may_be_none=True, prefix=self.prefix, revision=self.revision)
        check_whole_number("batch_size", self.batch_size, least=1)
        check_whole_number("truncate_dim", self.truncate_dim, least=1)
        max_tokens_of(self.tokenizer_kwargs)
        self.device = component_device(self.device)
        if not self.normalize_embeddings:
            logger.warning("normalize_embeddings=False has no effect: vectors have unit length in any case")

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled or copied: all but the loaded model."""
        return {**self.__dict__, "encoder": None}

    def to_dict(self, **more: Any) -> dict[str, Any]:
        """Return the component as a dictionary."""
        return default_to_dict(
            self,
            **more,
            model=self.model,
            device=self.device.to_dict() if isinstance(self.device, ComponentDevice) else self.device,
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
        """Load the model, unless it is loaded; the first `run` does so by itself.

        :raises ModelNotAvailableError: If its files cannot be had.
        :raises ModelError: If they are damaged or do not fit together.
        """
        if self.encoder is None:
            self.encoder = EncoderOptions(
                model=fspath(self.model),
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
