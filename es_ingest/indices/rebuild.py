"""Makes an index anew from its own documents and vectors, without encoding: another quantisation, analyzer, shards."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from elasticsearch import Elasticsearch

from es_ingest.indices.builds import Build, building, check_whole, claim, clear, now, origin_of
from es_ingest.indices.comparison import differing
from es_ingest.indices.expected import copied_from
from es_ingest.indices.loading import begin_loading, being_loaded, end_loading
from es_ingest.indices.snapshot import pages
from es_ingest.indices.switch import KEEP, NotWholeError, Switch, take_over
from es_ingest.indices.vectors import vector_fields
from es_ingest.indices.verify import OF_CONTENT, PARTIAL, Finding, Verification, ledger_of, verify, verify_with
from es_ingest.search import readable_index
from es_ingest.stream.ahead import ahead
from es_ingest.stream.ledger_reader import LedgerReader
from es_ingest.stream.stopping import Stop
from es_ingest.stream.target import ledger_path, target_of
from medte_haystack.errors import IndexContractError
from medte_haystack.index import (
    IndexInfo,
    IndexSpec,
    Operation,
    Server,
    bulk,
    create_index,
    detect_server,
    operation,
    run,
    vector_json,
)
from medte_haystack.index.contract import EMBEDDING, OWN_FIELDS
from medte_haystack.index.queries import source_filter

logger = logging.getLogger(__name__)

_PAGE = 1000
_PAGES_AHEAD = 2
_TOLD_EVERY = 10.0  # seconds between notes of how far the copy has come
_BACKOFF = bulk.Backoff(tries=40, patient=True)
_REPORTED = 20
_COUNTED: dict[str, dict[str, Any]] = {"documents": {"match_all": {}}, "vectors": {"exists": {"field": EMBEDDING}}}
_COPIED_SETTINGS = ("index.mapping.", "index.refresh_interval")
_VECTORS_IN_SOURCE = "index.mapping.exclude_source_vectors"  # a new index keeps them apart, and takes base64 then


@dataclass(frozen=True, slots=True)
class Shape:
    """What shall be different; None leaves it as it is.

    :param quantisation: Vector index type.
    :param analyzer: Of the text; ``auto`` takes ``english`` where the server has it.
    :param shards: Primary shards.
    :param replicas: Copies of each.
    """

    quantisation: str | None = None
    analyzer: str | None = None
    shards: int | None = None
    replicas: int | None = None


@dataclass(slots=True)
class Rebuilt:
    """What a rebuild did.

    :param source: Index whose documents were copied.
    :param index: The new index.
    :param quantisation: Its vector index type.
    :param analyzer: Its text's.
    :param documents: Documents in it.
    :param copied: Documents written by this call; others were there from a former one.
    :param refused: Documents that the server refused.
    :param seconds: Time it took.
    :param interrupted: Whether it ended before everything was copied.
    :param verification: What was found in it.
    :param switch: What became of the alias.
    """

    source: str
    index: str
    quantisation: str = ""
    analyzer: str | None = None
    documents: int = 0
    copied: int = 0
    refused: int = 0
    seconds: float = 0.0
    interrupted: bool = False
    verification: Verification | None = None
    switch: Switch | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as the one JSON object that `--json` prints."""
        verified = self.verification.to_dict() if self.verification else None
        return {**asdict(self), "seconds": round(self.seconds, 3), "verification": verified}


def rebuild(
    client: Elasticsearch,
    index: str,
    shape: Shape = Shape(),
    *,
    to: str | None = None,
    alias: str | None = None,
    keep: int = KEEP,
    fresh: bool = False,
    stop: Stop | None = None,
) -> Rebuilt:
    """Make a new index from an old one's documents and vectors; what was begun before goes on.

    The old one may be searched meanwhile, and stays. Its ledger, if it is here, is locked meanwhile and taken over, so
    that a run into the new index skips what has not changed.

    :param index: The old index, or an alias of it, which the new one then takes over.
    :param to: Name of the new index; None makes one of the old name and the time.
    :param alias: Alias that the new index takes over, instead.
    :param keep: How many older indices of the alias stay.
    :param fresh: Delete what was begun before.
    :param stop: Ends the copy early; the next call goes on.
    :raises IndexMissingError: If the old index does not exist.
    :raises IndexContractError: If it was not made by this project or is not whole, or the new one cannot be made.
    :raises NotWholeError: If the new index does not hold what the old one does.
    :raises BulkWriteError: If the server stays unreachable, busy or blocked.
    :raises LedgerError: If a run uses the ledger, or another process rebuilds the same.
    """
    started = time.perf_counter()
    stop = stop or Stop()
    old = readable_index(client, index)
    check_whole(client, old.name)
    if being_loaded(client, old.name):
        raise IndexContractError(
            f"index {old.name!r} is being loaded, or a load of it broke off; end that first", index=old.name
        )
    if alias is None and old.name != index:
        alias = index
    instead_of = old.name if alias == index else None
    origin = origin_of("rebuild", target_of(client, old.name).uuid, *asdict(shape).values(), to)
    with building(client, alias or old.name, alias=alias, origin=origin, name=to, fresh=fresh) as build:
        with ledger_of(client, old.name) as ledger:
            if ledger is None:
                logger.info(
                    "the ledger of %s is not here: a run into the new index will write all records again", old.name
                )
            rebuilding = _Rebuilding(client, old, build, ledger)
            done = rebuilding.done
            rebuilding.make(shape, fresh=fresh)
            rebuilding.copy(stop)
            found = None if stop.asked else rebuilding.finish()
        if found and alias is not None and not stop.asked:
            done.switch = take_over(client, rebuilding.build, found, keep=keep, instead_of=instead_of, stop=stop)
        done.interrupted = found is None or (alias is not None and done.switch is None)
    done.seconds = time.perf_counter() - started
    return done


class _Rebuilding:
    def __init__(self, client: Elasticsearch, old: IndexInfo, build: Build, ledger: LedgerReader | None) -> None:
        self.client = client
        self.old = old
        self.build = build
        self.ledger = ledger
        self.server: Server = run(client, detect_server())
        self.done = Rebuilt(old.name, build.index)
        found = client.indices.get(index=old.name, flat_settings=True)[old.name]
        self.settings: dict[str, Any] = found["settings"]
        self.fields: dict[str, Any] = found["mappings"]["properties"]
        self.shards = int(self.settings["index.number_of_shards"])

    def make(self, shape: Shape, *, fresh: bool) -> None:
        """Make the new index, unless it is there.

        :param fresh: Delete first what was begun before.
        """
        spec = self._spec(shape)
        if fresh:
            clear(self.client, self.build, spec, self.server)
        run(self.client, create_index(self.build.index, spec, self.server))
        claim(self.client, self.build)
        made = readable_index(self.client, self.build.index)
        assert made.fingerprint is not None  # noqa: S101  of a readable index
        self.done.quantisation, self.done.analyzer = made.quantisation, made.fingerprint.analyzer
        begin_loading(self.client, self.build.index, new=self.build.position is None)

    def _spec(self, shape: Shape) -> IndexSpec:
        assert self.old.fingerprint is not None  # noqa: S101  of a readable index
        replicas = int(self.settings["index.number_of_replicas"]) if shape.replicas is None else shape.replicas
        return IndexSpec(
            self.old.fingerprint,
            shape.quantisation or self.old.quantisation,
            analyzer=shape.analyzer or self.old.fingerprint.analyzer or "auto",
            shards=shape.shards or self.shards,
            replicas=replicas,
            fields={name: field for name, field in self.fields.items() if name not in OWN_FIELDS},
            meta=self.build.to_meta(),
            more_settings={
                name: value
                for name, value in self.settings.items()
                if name.startswith(_COPIED_SETTINGS) and name != _VECTORS_IN_SOURCE
            },
        )

    def copy(self, stop: Stop) -> None:
        """Copy what is not copied yet, shard by shard, each in the order in which it has got its documents.

        Everything before the positions that the new index keeps was acknowledged, and what was written since comes
        after them; writing a document again changes nothing.
        """
        total = self.client.count(index=self.old.name)["count"]
        begun, kept = self.build.position, time.monotonic()
        positions = dict(begun) if isinstance(begun, dict) else {}  # older versions kept one number for all shards
        with ahead(self._read(positions.copy()), _PAGES_AHEAD, "read", stop) as read:
            for operations, shard, position in read:
                positions[str(shard)] = position
                result = run(
                    self.client,
                    bulk.write(self.build.index, operations, backoff=_BACKOFF),
                    stop.patience(self.build.index),
                )
                for failure in result.failures[: max(0, _REPORTED - self.done.refused)]:
                    logger.warning("document %s refused: %s", failure.id, failure.reason or failure.type)
                self.done.refused += len(result.failures)
                self.done.copied += result.written
                if time.monotonic() - kept >= _TOLD_EVERY:
                    self.build = self.build.keep(self.client, position=positions)
                    kept = time.monotonic()
                    logger.info("copied %s documents; the old index has %s", f"{self.done.copied:,}", f"{total:,}")
        self.build = self.build.keep(self.client, position=positions)

    def _read(self, positions: Mapping[str, int]) -> Iterator[tuple[list[Operation], int, int]]:
        """Yield the documents that are not copied yet in pages, each with its shard and the position of its last one.

        :param positions: Where to go on; shards count each for itself.
        """
        binary = self.server.base64_doc_values
        wanted = source_filter(return_embedding=not binary, excludes_vectors=self.server.gives_vectors_on_request)
        search: dict[str, Any] = {"sort": ["_seq_no"], "source": wanted.get("_source")}
        if binary:
            search["docvalue_fields"] = vector_fields()
        for shard in range(self.shards):
            search["query"] = {"range": {"_seq_no": {"gte": positions.get(str(shard), 0)}}}
            for hits in pages(self.client, self.old.name, size=_PAGE, shard=shard, **search):
                operations = [operation("index", hit["_id"], self._body(hit)) for hit in hits]
                yield operations, shard, hits[-1]["sort"][0]

    def _body(self, hit: Mapping[str, Any]) -> dict[str, Any]:
        body: dict[str, Any] = hit["_source"]
        if found := hit.get("fields", {}).get(EMBEDDING):
            body[EMBEDDING] = found[0]
        elif body.get(EMBEDDING) is not None:
            vector = np.asarray(body[EMBEDDING], dtype=np.float32)
            body[EMBEDDING] = vector_json(vector, base64_vectors=self.server.base64_vectors)
        return body

    def finish(self) -> Verification:
        """Put refresh and replicas back, take the ledger over, and compare with the old index.

        :raises NotWholeError: If something is not as it should be, and the index is for no alias.
        """
        client, index = self.client, self.build.index
        end_loading(client, index)
        if self.ledger is not None:
            target = target_of(client, index)
            self.ledger.copy(ledger_path(target), target)
        found = verify(client, index, expected=copied_from(client, self.old.name))
        found.findings = [*self._new(found.findings), *self._differing_counts(), *self._differing_records()]
        self.done.verification = found
        if self.build.alias is None:
            if wrong := found.wrong(but=PARTIAL):
                raise NotWholeError(f"index {index!r} is not whole: {wrong}", verification=found)
            self.build = self.build.keep(client, state="done", time=now())
        return found

    def _new(self, findings: Sequence[Finding]) -> Iterator[Finding]:
        """Yield what was found in the new index alone."""
        before = verify_with(
            self.client, self.old.name, self.ledger, expected="only its chunks are looked at", sample=0
        )
        of_old = {(one.kind, one.count) for one in before.findings}
        for one in findings:
            if one.kind not in OF_CONTENT and (one.kind, one.count) not in of_old:
                yield one
            else:
                logger.warning("index %s is as the old one is: %s", self.build.index, one)

    def _differing_counts(self) -> Iterator[Finding]:
        self.client.indices.refresh(index=self.old.name)
        names = (self.old.name, self.build.index)
        for what, query in _COUNTED.items():
            before, after = (self.client.count(index=name, query=query)["count"] for name in names)
            if before != after:
                text = (
                    f"{names[0]} has {before:,} {what}, {names[1]} {after:,}; the same command again copies what has"
                    " come since, with --fresh everything"
                )
                yield Finding("count", abs(before - after), text)
        self.done.documents = self.client.count(index=self.build.index)["count"]

    def _differing_records(self) -> Iterator[Finding]:
        """Yield records that one of the two indices has alone: of those deleted meanwhile a copy hears nothing."""
        if (found := differing(self.client, self.old.name, self.build.index)).count:
            text = (
                f"chunks are not in both this index and {self.old.name}; the same command with --fresh copies all again"
            )
            yield Finding("differing", found.count, text, tuple(found.first))
