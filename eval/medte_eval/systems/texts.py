"""An index of whole documents without vectors, for BM25 alone; and a plain list of texts as a corpus."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from medte_eval.systems.corpus import Corpus, EvaluationIndex
from medte_haystack.errors import IndexContractError
from medte_haystack.index import (
    IndexSpec,
    Operation,
    bulk,
    chunk_id,
    create_index,
    detect_server,
    mapping,
    operation,
    run,
)
from medte_haystack.index.contract import CHUNK_INDEX, CONTENT, EMBEDDING, PARENT_ID, TITLE


@dataclass(frozen=True)
class Texts:
    """Texts as a corpus; their ids are their positions.

    :param texts: The texts.
    """

    texts: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.texts)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for number, text in enumerate(self.texts):
            yield {"id": str(number), "title": "", "text": text}

    def __getitem__(self, column: str) -> Sequence[str]:
        return [row[column] for row in self]


class TextIndex(EvaluationIndex):
    """Whole documents, as published BM25 scores are made; no model takes part."""

    def settings(self) -> dict[str, Any]:
        """Return how the index is made."""
        return {"index": None, "index_options": None, "shards": 1, "chunk_tokens": None, "analyzer": self.analyzer()}

    def _make(self, name: str, corpus: Corpus, mark: dict[str, Any]) -> int:
        shape = mapping(None, analyzer=self.analyzer(), fingerprint={})
        del shape["properties"][EMBEDDING]
        spec = IndexSpec(analyzer=self.analyzer(), body={**shape, "_meta": mark}, replicas=0)
        run(self.client, create_index(name, spec, run(self.client, detect_server())))
        with self._show(lambda: range(len(corpus))) as progress:

            def operations() -> Iterator[Operation]:
                for done, row in enumerate(corpus, start=1):
                    body = {CONTENT: row["text"], TITLE: row.get("title") or "", PARENT_ID: row["id"], CHUNK_INDEX: 0}
                    yield operation("index", chunk_id(row["id"], 0), body)
                    progress.update(records=done, chunks=done, tokens=0)

            result = run(self.client, bulk.write(name, operations()))
        if result.failures:
            first = result.failures[0]
            raise IndexContractError(
                f"{len(result.failures)} documents of the corpus were refused, so the scores would be wrong;"
                f" {first.id!r}: {first.reason or first.type}",
                failed=len(result.failures),
            )
        self.client.indices.refresh(index=name)
        return 0
