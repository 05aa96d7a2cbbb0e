"""Splits documents by the model's own tokens."""

import asyncio
from collections.abc import Iterator
from typing import Any, Self

from haystack import Document, component, default_from_dict, default_to_dict, logging
from haystack.utils import Secret

from medte_haystack.encoder import DEFAULT_MODEL, Tokeniser, TokenSplitter, locate
from medte_haystack.index import chunk_id

logger = logging.getLogger(__name__)


@component
class MedTEDocumentSplitter:
    """Splits Documents into pieces that fit the model: whole paragraphs and sentences where they fit, words otherwise.

    Lengths are tokens of the model itself, so no piece loses its end when it is embedded. Each piece keeps where it
    stood: ``chunk_start`` and ``chunk_end`` are characters in the original content.

    ```python
    from haystack import Document
    from medte_haystack import MedTEDocumentSplitter

    splitter = MedTEDocumentSplitter(model="minilm", split_length=200, split_overlap=20)
    pieces = splitter.run([Document(content="Long text …", id="report-7")])["documents"]
    pieces[0].meta  # parent_id, chunk_index, chunk_start, chunk_end; and Haystack's source_id, split_id, …
    ```
    """

    def __init__(
        self,
        *,
        model: str = DEFAULT_MODEL,
        split_length: int | None = None,
        split_overlap: int = 0,
        meta_fields_to_embed: list[str] | None = None,
        skip_empty_documents: bool = True,
        revision: str | None = None,
        token: Secret | None = Secret.from_env_var(["HF_API_TOKEN", "HF_TOKEN"], strict=False),  # noqa: B008
        local_files_only: bool = False,
    ) -> None:
        """Store the parameters; the tokenizer is loaded by `warm_up` or the first `run`.

        :param model: Whose tokens are counted: registry name, local folder, or hub id.
        :param split_length: Most tokens of a piece, special tokens not counted; None takes what the model takes.
        :param split_overlap: Most tokens that a piece repeats from the one before it.
        :param meta_fields_to_embed: Metadata that the embedder will put before each piece: room is kept for it.
        :param skip_empty_documents: Leave out Documents without text; otherwise they are passed on as they are.
        :param revision: Hub commit, tag or branch instead of the registry's.
        :param token: Hub token.
        :param local_files_only: Never ask the hub.
        """
        self.model = model
        self.split_length = split_length
        self.split_overlap = split_overlap
        self.meta_fields_to_embed = meta_fields_to_embed or []
        self.skip_empty_documents = skip_empty_documents
        self.revision = revision
        self.token = token
        self.local_files_only = local_files_only
        self.splitter: TokenSplitter | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the component as a dictionary."""
        return default_to_dict(
            self,
            model=self.model,
            split_length=self.split_length,
            split_overlap=self.split_overlap,
            meta_fields_to_embed=self.meta_fields_to_embed,
            skip_empty_documents=self.skip_empty_documents,
            revision=self.revision,
            token=self.token.to_dict() if self.token else None,
            local_files_only=self.local_files_only,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Return the component that a dictionary describes."""
        found: Self = default_from_dict(cls, data)
        return found

    def warm_up(self) -> None:
        """Load the tokenizer, unless it is loaded.

        :raises ModelNotAvailableError: If the model's files cannot be had.
        :raises EncoderOptionError: If length or overlap do not fit the model.
        """
        if self.splitter is None:
            files = locate(
                self.model,
                revision=self.revision,
                token=self.token.resolve_value() if self.token else None,
                local_files_only=self.local_files_only,
            )
            self.splitter = TokenSplitter(
                Tokeniser.of(files), chunk_tokens=self.split_length, overlap=self.split_overlap
            )

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, list[Document]]:
        """Split documents.

        :param documents: The documents; they are not changed.
        :returns: ``documents``: the pieces, in order. Their ids derive from the document's id and the piece's number,
            so the same document gives the same ids again.
        :raises TypeError: If the input is no list of Documents.
        """
        if not isinstance(documents, list) or not all(isinstance(one, Document) for one in documents):
            raise TypeError("MedTEDocumentSplitter takes a list of Documents")
        return {"documents": list(self._pieces(documents))}

    @component.output_types(documents=list[Document])
    async def run_async(self, documents: list[Document]) -> dict[str, list[Document]]:
        """Split documents in a thread, so that the event loop goes on; see :meth:`run`."""
        result: dict[str, list[Document]] = await asyncio.to_thread(self.run, documents)
        return result

    def _pieces(self, documents: list[Document]) -> Iterator[Document]:
        self.warm_up()
        assert self.splitter is not None  # noqa: S101  warm_up set it
        texts = [one.content or "" for one in documents]
        titles = [
            " ".join(str(one.meta[key]) for key in self.meta_fields_to_embed if one.meta.get(key) is not None)
            for one in documents
        ]
        for document, pieces in zip(documents, self.splitter.split_many(texts, titles=titles), strict=True):
            if not pieces:
                if self.skip_empty_documents:
                    logger.warning("Document {id} has no text and is left out", id=document.id)
                else:
                    yield document
            for number, piece in enumerate(pieces):
                place = {
                    "parent_id": document.id,
                    "chunk_index": number,
                    "chunk_start": piece.start,
                    "chunk_end": piece.end,
                    # the names that Haystack's own splitter and its SentenceWindowRetriever use
                    "source_id": document.id,
                    "split_id": number,
                    "split_idx_start": piece.start,
                    "page_number": _page(document.content or "", piece.start),
                }
                yield Document(id=chunk_id(document.id, number), content=piece.text, meta={**document.meta, **place})


def _page(text: str, start: int) -> int:
    """Return the page, from 1, that a character stands on; pages end with a form feed."""
    return text.count("\f", 0, start) + 1
