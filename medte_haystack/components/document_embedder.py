"""Embeds documents."""

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

from haystack import Document, component, logging
from tqdm import tqdm

from medte_haystack.components.embedder import Embedder
from medte_haystack.components.shared_encoder import check_strings
from medte_haystack.encoder import Kind

logger = logging.getLogger(__name__)

_NAMED = 5  # ids in a log line


@component
@dataclass(kw_only=True, eq=False, repr=False)
class MedTEDocumentEmbedder(Embedder):
    """Embeds Documents with MedTE or another model of the registry.

    It takes the place of `SentenceTransformersDocumentEmbedder`: the parameters have the same names. Documents are
    sorted by token count and computed under a token budget, which is why it is faster; the order of the result is that
    of the input.

    ```python
    from haystack import Document
    from medte_haystack import MedTEDocumentEmbedder

    embedder = MedTEDocumentEmbedder(model="minilm", meta_fields_to_embed=["title"], embedding_separator=" ")
    documents = embedder.run([Document(content="A disorder of growth.", meta={"title": "Acromegaly"})])["documents"]
    ```

    :param meta_fields_to_embed: Metadata put before the content. `es-ingest` embeds the title, with a blank.
    :param embedding_separator: Put between them.

    The others are those of :class:`~medte_haystack.components.embedder.Embedder`.
    """

    meta_fields_to_embed: list[str] | None = None
    embedding_separator: str = "\n"
    truncated: list[str] = field(default_factory=list, init=False)
    """Ids of the documents that were too long for the model and lost their end, of the last run."""

    def __post_init__(self) -> None:
        """Check the parameters."""
        Embedder.__post_init__(self)  # super() fails: @component makes the class anew
        check_strings(embedding_separator=self.embedding_separator)
        self.meta_fields_to_embed = self.meta_fields_to_embed or []

    def to_dict(self, **more: Any) -> dict[str, Any]:
        """Return the component as a dictionary."""
        return Embedder.to_dict(
            self, meta_fields_to_embed=self.meta_fields_to_embed, embedding_separator=self.embedding_separator, **more
        )

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, list[Document]]:
        """Embed documents.

        :param documents: The documents; they are not changed.
        :returns: ``documents``: copies with their unit vectors as `embedding`, in the same order. The ids of those that
            were too long are in :attr:`truncated` then.
        :raises TypeError: If the input is no list of Documents.
        """
        if not isinstance(documents, list) or not all(isinstance(one, Document) for one in documents):
            raise TypeError("MedTEDocumentEmbedder takes a list of Documents; for a string take MedTETextEmbedder")
        kind: Kind | None = "passage" if self.prefix is None else None
        encoder, cut = self._loaded(), list[int]()
        stream = encoder.encode_stream(
            map(self._text, documents), kind, max_texts=self.batch_size, on_truncated=cut.append
        )
        bar = tqdm(stream, total=len(documents), desc="Embedding", unit="doc", disable=not self.progress_bar)
        embedded = [replace(one, embedding=vector.tolist()) for one, vector in zip(documents, bar, strict=True)]
        self.truncated = [documents[position].id for position in cut]
        if cut:
            logger.warning(
                "{cut} of {all} documents were longer than {limit} tokens and lost their end: {ids}",
                cut=len(cut),
                all=len(documents),
                limit=encoder.max_tokens,
                ids=", ".join([*self.truncated[:_NAMED], *(["…"] if len(cut) > _NAMED else [])]),
            )
        return {"documents": embedded}

    @component.output_types(documents=list[Document])
    async def run_async(self, documents: list[Document]) -> dict[str, list[Document]]:
        """Embed documents in a thread, so that the event loop goes on; see :meth:`run`."""
        result: dict[str, list[Document]] = await asyncio.to_thread(self.run, documents)
        return result

    def _text(self, document: Document) -> str:
        fields = [
            str(value) for key in self.meta_fields_to_embed or () if (value := document.meta.get(key)) is not None
        ]
        text = self.embedding_separator.join([*fields, document.content or ""])
        return (self.prefix or "") + text + self.suffix
