"""Embeds a query."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

import numpy as np
from haystack import component
from numpy.typing import NDArray

from medte_haystack.components.embedder import Embedder
from medte_haystack.components.shared_encoder import check_whole_number
from medte_haystack.encoder import Kind


@component
@dataclass(kw_only=True, eq=False, repr=False)
class MedTETextEmbedder(Embedder):
    """Embeds a string, usually a query, with MedTE or another model of the registry.

    It takes the place of `SentenceTransformersTextEmbedder`: the parameters have the same names.

    ```python
    from medte_haystack import MedTETextEmbedder

    embedder = MedTETextEmbedder(model="minilm")
    vector = embedder.run("What are the symptoms of acromegaly?")["embedding"]  # 384 floats, unit length
    ```

    :param cached_queries: Keep the vectors of so many texts, the least recently used go first; 0 keeps none. One takes
        4 bytes a dimension and its text.

    The others are those of :class:`~medte_haystack.components.embedder.Embedder`.
    """

    cached_queries: int = 0
    _encode: Callable[[str], NDArray[np.float32]] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Check the parameters."""
        Embedder.__post_init__(self)  # super() fails: @component makes the class anew
        check_whole_number("cached_queries", self.cached_queries, least=0, may_be_none=False)

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled or copied: all but the loaded model and the kept vectors."""
        return {**Embedder.__getstate__(self), "_encode": None}

    def to_dict(self, **more: Any) -> dict[str, Any]:
        """Return the component as a dictionary."""
        return Embedder.to_dict(self, cached_queries=self.cached_queries, **more)

    def warm_up(self) -> None:
        """Load the model, unless it is loaded; see :meth:`Embedder.warm_up`."""
        Embedder.warm_up(self)
        if self._encode is None:
            assert self.encoder is not None  # noqa: S101  warm_up set it
            kind: Kind | None = "query" if self.prefix is None else None
            encode = partial(self.encoder.encode_one, kind=kind)
            self._encode = lru_cache(self.cached_queries)(encode) if self.cached_queries else encode

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, list[float]]:
        """Embed a text.

        :param text: The text.
        :returns: ``embedding``: the unit vector.
        :raises TypeError: If `text` is no string.
        """
        if not isinstance(text, str):
            raise TypeError(
                f"MedTETextEmbedder takes a string, not {type(text).__name__}; for Documents take MedTEDocumentEmbedder"
            )
        if self._encode is None:
            self.warm_up()
        assert self._encode is not None  # noqa: S101  warm_up set it
        return {"embedding": self._encode((self.prefix or "") + text + self.suffix).tolist()}

    @component.output_types(embedding=list[float])
    async def run_async(self, text: str) -> dict[str, list[float]]:
        """Embed a text in a thread, so that the event loop goes on; see :meth:`run`."""
        result: dict[str, list[float]] = await asyncio.to_thread(self.run, text)
        return result
