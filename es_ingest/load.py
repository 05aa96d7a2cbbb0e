"""The steps of `es-ingest run`: who makes the vectors, where they go, and what becomes of an alias."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from elasticsearch import Elasticsearch

from es_ingest.cluster import Connection
from es_ingest.corpus import Corpus
from es_ingest.indices.builds import Build, building, clear, origin_of
from es_ingest.indices.deletion import make_room
from es_ingest.indices.expected import Expected, encoded_again
from es_ingest.indices.switch import Switch, take_over
from es_ingest.indices.verify import verify
from es_ingest.ingest import Ingester, MakeRoom
from es_ingest.stream.summary import Summary
from medte_haystack.encoder import DEFAULT_MODEL, Encoder, TokenSplitter
from medte_haystack.errors import IndexContractError
from medte_haystack.index import Fingerprint
from medte_haystack.model_identity import fingerprint_of_vectors

if TYPE_CHECKING:
    from es_ingest.distributed.engine import RayEngine


@dataclass(frozen=True, slots=True)
class Maker:
    """Who makes the vectors of a run.

    :param encoder: The model; of a cluster, the one that compares; None where records bring their vectors.
    :param vectors_by: What made the vectors that records bring.
    :param cluster: The Ray cluster that encodes and writes, if one does.
    """

    encoder: Encoder | None
    vectors_by: Fingerprint | None = None
    cluster: "RayEngine | None" = None


@contextmanager
def maker(
    connection: Connection,
    model: str | None,
    dim: int | None,
    *,
    engine: str,
    address: str | None,
    workers: int | None,
    device: str | None,
    precision: str,
    max_tokens: int | None,
    chunk_tokens: int | None,
    chunk_overlap: int,
) -> Iterator[Maker]:
    """Have an encoder ready for the time of a ``with`` block, here or on a Ray cluster.

    :param dim: Dimensions of the vectors that records bring, which `model` has made; None if they bring none.
    :param engine: ``local`` or ``ray``.
    :param address: The cluster; None takes `RAY_ADDRESS`, or starts one.
    :raises EncoderOptionError: If chunks cannot be made so.
    :raises EngineError: If there is no cluster, or it cannot do what is asked.
    """
    name = None if dim is not None else model or DEFAULT_MODEL
    vectors_by = None if dim is None else fingerprint_of_vectors(str(model), dim)
    if engine == "ray":
        from es_ingest.distributed.engine import ray_engine

        where = address or os.environ.get("RAY_ADDRESS")
        with ray_engine(
            connection,
            name,
            address=where,
            workers=workers,
            device=device,
            precision=precision,
            max_tokens=max_tokens,
        ) as cluster:
            _check(cluster.encoder, chunk_tokens, chunk_overlap)
            yield Maker(cluster.encoder, vectors_by, cluster)
        return
    encoder = None
    if name is not None:
        encoder = Encoder.load(name, device=device, precision=precision, max_tokens=max_tokens)
    _check(encoder, chunk_tokens, chunk_overlap)
    yield Maker(encoder, vectors_by)


def _check(encoder: Encoder | None, chunk_tokens: int | None, chunk_overlap: int) -> None:
    """Try the options of chunks, so that what is wrong with them is told before anything is deleted."""
    if encoder is not None:
        TokenSplitter(encoder.tokeniser, chunk_tokens=chunk_tokens, overlap=chunk_overlap)


@contextmanager
def destination(
    client: Elasticsearch, index: str | None, alias: str | None, corpus: Corpus, *, fresh: bool, ledger: Path | None
) -> Iterator[tuple[str, Build | None, MakeRoom | None]]:
    """Choose the index to write to, for the time of a ``with`` block: `index`, or one that is built for `alias`.

    :param fresh: Begin anew; of an alias, the index that was begun and is not whole.
    :param ledger: The ledger of `index`, if it is not where ledgers are kept.
    :returns: Its name, what it keeps if it is built for an alias, and what deletes the one that is there if it is to.
    :raises LedgerError: If another process builds for the alias.
    :raises IndexContractError: If one was begun from something else or elsewhere.
    """
    if alias is None:
        yield str(index), None, partial(make_room, client, str(index), ledger) if fresh else None
        return
    origin = origin_of("run", corpus.job)
    with building(client, alias, alias=alias, origin=origin, fresh=fresh, by_ledger=True) as build:
        yield build.index, build, partial(clear, client, build) if fresh else None


def switch(
    client: Elasticsearch, build: Build, ingester: Ingester, encoder: Encoder | None, summary: Summary, *, keep: int
) -> Switch | None:
    """Let an index that was written to its end take over its alias, if it is found whole.

    :param encoder: What made its vectors; None where records brought them.
    :param summary: What the run did.
    :param keep: How many older indices stay.
    :returns: None if the run was interrupted.
    :raises IndexContractError: If part of a source may be missing, or the alias stands for another index meanwhile.
    :raises NotWholeError: If it is not whole.
    """
    if summary.gaps:
        raise IndexContractError(
            f"alias {build.alias!r} stays where it is: a source broke off, changed while it was read, or has files that"
            " cannot be read; mend it and run the same command again",
            alias=build.alias,
        )
    if summary.interrupted:
        return None
    expected: Expected | str = "they were ready-made"
    if encoder is not None:
        expected = encoded_again(encoder, ingester.fingerprint, build.index)
    return take_over(client, build, verify(client, build.index, expected=expected), keep=keep)
