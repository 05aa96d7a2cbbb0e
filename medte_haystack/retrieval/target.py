"""What is searched, and the parts of bodies that follow from it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medte_haystack.errors import IndexContractError
from medte_haystack.index import MAX_CANDIDATES, IndexInfo, Server, Steps, check_vector, cosine_from_score
from medte_haystack.index.contract import PARENT_ID
from medte_haystack.index.queries import KnnOptions, default_num_candidates, default_oversampling, source_filter
from medte_haystack.retrieval.asking import Answer, Log, ask
from medte_haystack.retrieval.options import SharedOptions

Hit = dict[str, Any]

_MORE = 4  # times the chunks, where too few documents came back


@dataclass(frozen=True, slots=True)
class Target:
    """An index to search.

    :param index: Its name, or an alias's.
    :param info: What it is.
    :param server: Where it is.
    """

    index: str
    info: IndexInfo
    server: Server

    def collapses(self, options: SharedOptions) -> bool:
        """Return whether chunks are to become documents.

        :raises IndexContractError: If they shall, and the index does not say to which document a chunk belongs.
        """
        able = self.info.fields.get(PARENT_ID) == "keyword"
        if options.collapse and not able:
            raise IndexContractError(
                f"index {self.info.name!r} has no keyword field {PARENT_ID!r}, so its chunks cannot be collapsed to"
                " documents; take collapse=False, or write them with es-ingest or MedTEDocumentStore(model=…)",
                index=self.info.name,
            )
        return able if options.collapse is None else options.collapse

    def shown(self, options: SharedOptions) -> dict[str, Any]:
        """Return the part of a body that says what comes back of each hit; nothing where that is right anyway."""
        if self.info.keeps_vectors_out and not options.return_embedding:
            return {}  # filtering takes the server as long as fetching
        return source_filter(
            return_embedding=options.return_embedding, excludes_vectors=self.server.gives_vectors_on_request
        )

    def knn(self, options: SharedOptions, filters: Mapping[str, Any] | None, chunks: int) -> KnnOptions:
        """Return how the vectors are searched for so many chunks."""
        candidates = options.num_candidates or default_num_candidates(options.top_k)
        oversampling = options.oversample
        if oversampling is None and self.info.oversampling is None:
            oversampling = default_oversampling(self.info.quantisation)
        return KnnOptions(
            num_candidates=max(candidates, chunks),
            oversampling=oversampling,
            min_similarity=options.min_similarity,
            filters=filters,
            base64_vectors=self.server.base64_vectors,
        )

    def cosine(self, score: float) -> float:
        """Return the cosine behind a score of the vectors; the score itself where the index compares otherwise."""
        return cosine_from_score(score) if self.info.similarity in ("cosine", "dot_product") else score


def checked_vector(values: Sequence[float], info: IndexInfo) -> NDArray[np.float32]:
    """Return a query's vector as an array.

    :raises IndexContractError: If it has other dimensions than the index, is not finite, zero where the index compares
        by cosine, or no unit vector where it does by dot product.
    """
    try:
        vector = np.asarray(values, dtype=np.float32)
    except (ValueError, TypeError) as error:
        raise IndexContractError(f"the query's vector holds values that are no numbers ({error})") from None
    if vector.ndim != 1 or not vector.size or info.dim not in (None, vector.size):
        raise IndexContractError(
            f"the query's vector has {' x '.join(map(str, vector.shape)) or 'no'} dimensions, index {info.name!r} has"
            f" {info.dim}; embed queries with"
            f" {info.fingerprint.model if info.fingerprint else 'the model the index was made with'}",
            found=vector.size if vector.ndim == 1 else vector.shape,
            expected=info.dim,
        )
    if info.similarity == "dot_product":
        check_vector(vector, vector.size, name="the query")
    elif not np.isfinite(vector).all():
        raise IndexContractError("the query's vector holds values that are no finite numbers")
    elif info.similarity == "cosine" and not vector.any():
        raise IndexContractError("the query's vector is zero, which has no cosine to any; was there a text to embed?")
    return vector


def documents(hits: Iterable[Hit], *, collapses: bool) -> dict[str, Hit]:
    """Return the first hit of each document by the document's id; or, if nothing collapses, each hit by its own."""
    found: dict[str, Hit] = {}
    for hit in hits:
        found.setdefault((collapses and hit["_source"].get(PARENT_ID)) or hit["_id"], hit)
    return found


def some_alone(hits: Iterable[Hit]) -> bool:
    """Tell whether some are no chunks of a document; the server collapses all such to one, whose others are missing."""
    return any(hit["_source"].get(PARENT_ID) is None for hit in hits)


def widening(
    target: Target,
    options: SharedOptions,
    questions: Sequence[int],
    bodies: Callable[[int, int], Sequence[Mapping[str, Any]]],
    first: int,
    log: Log | None,
) -> Steps[dict[int, list[Answer]]]:
    """Ask all questions at once; those again among more chunks for which too few documents came, if there are more.

    :param questions: Their numbers.
    :param bodies: Number of a question and chunks to look among -> its searches.
    :param first: Chunks to look among at first.
    :returns: The answers to each question, by its number.
    """
    found: dict[int, list[Answer]] = {}
    waiting, chunks = list(questions), min(first, MAX_CANDIDATES)
    collapses = target.collapses(options)
    while waiting:
        asked = {number: bodies(number, chunks) for number in waiting}
        queries = [number for number, some in asked.items() for _ in some]
        every = [body for some in asked.values() for body in some]
        answers = iter((yield from ask(target.index, every, log, queries=queries)))
        for number, some in asked.items():
            found[number] = [next(answers) for _ in some]
        if chunks == MAX_CANDIDATES or not collapses:
            break
        waiting = [number for number in waiting if _has_more(asked[number], found[number], options.top_k, chunks)]
        chunks = min(MAX_CANDIDATES, _MORE * chunks)
    return found


def _has_more(bodies: Sequence[Mapping[str, Any]], answers: Sequence[Answer], top_k: int, chunks: int) -> bool:
    """Tell whether there are too few documents, and chunks that were not looked at."""
    hits = [answer["hits"]["hits"] for answer in answers]
    if len(documents((hit for some in hits for hit in some), collapses=True)) >= top_k:
        return False
    return any(
        answer["hits"]["total"]["value"] >= chunks and not some_alone(some)
        if "collapse" in body
        else len(some) == body["size"]
        for body, answer, some in zip(bodies, answers, hits, strict=True)
    )
