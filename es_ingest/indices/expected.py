"""Stored vectors compared with what they should be: made again by the model, or those of the index they come from."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from elasticsearch import Elasticsearch
from numpy.typing import NDArray

from es_ingest.indices.comparison import Tally
from medte_haystack.encoder import Encoder
from medte_haystack.errors import IndexContractError
from medte_haystack.index import Fingerprint, Server, check_vector, detect_server, run
from medte_haystack.index.contract import CHUNK_END, CHUNK_START, CONTENT, EMBEDDING
from medte_haystack.index.queries import source_filter

# Least cosine of two encodings of a text, by the coarser precision of the two; the least that was ever measured is
# 0.9999 (bf16), 0.985 (fp8) and 0.983 (int8). What is compared are the floats in `_source`, whatever the quantisation.
_LEAST = {"fp32": 0.9999, "bf16": 0.999, "fp8": 0.97, "int8": 0.97}
_SAME = 1 - 1e-6  # of a copy
_TOGETHER = 100  # vectors of 1,024 dimensions are some 12 kB each in JSON

Stored = Mapping[str, Any]  # the `_source` of a chunk, with its vector


@dataclass(frozen=True, slots=True)
class Expected:
    """What stored vectors should be.

    :param of: Gives the vectors of some chunks, shape (n, dim), by their ids and sources; a row of NaN for one unknown.
    :param least: Least cosine to the stored ones.
    :param by: Where they come from, for people.
    """

    of: Callable[[Sequence[str], Sequence[Stored]], NDArray[np.float32]]
    least: float
    by: str


@dataclass(slots=True)
class VectorCheck:
    """What became of a sample of vectors.

    :param read: How many chunks were read back.
    :param lowest: Lowest cosine to the expected vector, None if there were none to compare with.
    :param unfit: Chunks whose vector is missing, not of unit length, or of other dimensions.
    :param different: Chunks whose vector is not the expected one.
    :param misplaced: Chunks whose text is not as long as their place says.
    """

    read: int = 0
    lowest: float | None = None
    unfit: Tally = field(default_factory=Tally)
    different: Tally = field(default_factory=Tally)
    misplaced: Tally = field(default_factory=Tally)


def encoded_again(encoder: Encoder, made_by: Fingerprint, index: str) -> Expected:
    """Return what a model makes of the chunks' texts.

    :param made_by: What made the index.
    :raises FingerprintMismatchError: If it was another model.
    :raises IndexContractError: If the index does not say of which fields its vectors were made.
    """
    made_by.check_reader(Fingerprint.of_encoder(encoder), index=index)
    if made_by.embedded_fields is None:
        raise IndexContractError(f"index {index!r} does not say which text its vectors are made of", index=index)
    fields = made_by.embedded_fields
    least = min(_LEAST.get(str(one), min(_LEAST.values())) for one in (made_by.precision, encoder.precision))

    def encode(ids: Sequence[str], chunks: Sequence[Stored]) -> NDArray[np.float32]:  # noqa: ARG001
        return encoder.encode([" ".join(str(one[name]) for name in fields if one.get(name)) for one in chunks])

    return Expected(encode, least, f"encoded again by {encoder.spec.name} in {encoder.precision}")


def copied_from(client: Elasticsearch, index: str) -> Expected:
    """Return the vectors of the same chunks in another index."""
    server: Server = run(client, detect_server())

    def read(ids: Sequence[str], chunks: Sequence[Stored]) -> NDArray[np.float32]:
        found = dict(read_chunks(client, index, ids, server))
        vectors = [_vector(found.get(name, {})) for name in ids]
        unknown = np.full(len(chunks[0][EMBEDDING]), np.nan, dtype=np.float32)
        return np.stack([unknown if one is None or one.shape != unknown.shape else one for one in vectors])

    return Expected(read, _SAME, f"those of index {index}")


def check_vectors(
    client: Elasticsearch, index: str, ids: Sequence[str], dim: int, expected: Expected | None
) -> VectorCheck:
    """Read chunks back and look at their vectors.

    :param dim: Dimensions of the index.
    :param expected: What they should be; None looks at their length and dimensions alone.
    """
    found = VectorCheck()
    server: Server = run(client, detect_server())
    for start in range(0, len(ids), _TOGETHER):
        chunks = dict(read_chunks(client, index, ids[start : start + _TOGETHER], server))
        found.read += len(chunks)
        for name, chunk in chunks.items():
            if chunk[CHUNK_END] - chunk[CHUNK_START] != len(chunk.get(CONTENT) or ""):
                found.misplaced.add(name)
        fit = {name: chunk for name, chunk in chunks.items() if _fits(chunk, dim)}
        for name in chunks.keys() - fit.keys():
            found.unfit.add(name)
        if expected is not None and fit:
            _compare(found, fit, expected)
    return found


def _compare(found: VectorCheck, chunks: Mapping[str, Stored], expected: Expected) -> None:
    names, sources = list(chunks), list(chunks.values())
    cosines = _cosines(np.asarray([one[EMBEDDING] for one in sources]), expected.of(names, sources))
    found.lowest = min(float(cosines.min()), 1.0 if found.lowest is None else found.lowest)
    for place in np.flatnonzero(cosines < expected.least):
        found.different.add(names[place])


def _cosines(stored: NDArray[np.float64], expected: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the cosines of rows, shape (n,); -1 where a vector is not known."""
    lengths = np.linalg.norm(stored, axis=1) * np.linalg.norm(expected.astype(np.float64), axis=1)
    cosines: NDArray[np.float64] = np.nan_to_num((stored * expected).sum(axis=1) / lengths, nan=-1.0)
    return cosines


def _fits(chunk: Stored, dim: int) -> bool:
    vector = _vector(chunk)
    try:
        check_vector(np.empty(0) if vector is None else vector, dim, name="a chunk")
    except IndexContractError:
        return False
    return True


def _vector(chunk: Stored) -> NDArray[np.float32] | None:
    found = chunk.get(EMBEDDING)
    return None if found is None else np.asarray(found, dtype=np.float32)


def read_chunks(
    client: Elasticsearch, index: str, ids: Sequence[str], server: Server
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield id and `_source` of chunks, with their vectors."""
    body = source_filter(return_embedding=True, excludes_vectors=server.gives_vectors_on_request)
    query = {"ids": {"values": list(ids)}}
    for hit in client.search(index=index, query=query, size=len(ids), source=body.get("_source"))["hits"]["hits"]:
        yield hit["_id"], hit["_source"]
