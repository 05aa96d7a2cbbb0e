"""Embeds a query."""

import asyncio

from haystack import component

from medte_haystack.components.embedder import Embedder
from medte_haystack.encoder import Kind


@component
class MedTETextEmbedder(Embedder):
    """Embeds a string, usually a query, with MedTE or another model of the registry.

    It takes the place of `SentenceTransformersTextEmbedder`: the parameters have the same names.

    ```python
    from medte_haystack import MedTETextEmbedder

    embedder = MedTETextEmbedder(model="minilm")
    vector = embedder.run("What are the symptoms of acromegaly?")["embedding"]  # 384 floats, unit length
    ```
    """

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
        kind: Kind | None = "query" if self.prefix is None else None
        text = (self.prefix or "") + text + self.suffix
        return {"embedding": self._loaded().encode([text], kind)[0].tolist()}

    @component.output_types(embedding=list[float])
    async def run_async(self, text: str) -> dict[str, list[float]]:
        """Embed a text in a thread, so that the event loop goes on; see :meth:`run`."""
        result: dict[str, list[float]] = await asyncio.to_thread(self.run, text)
        return result
