"""The systems by name: one row each. Importing this package is cheap: a system is imported when it is opened."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from es_ingest.cluster import Connection
    from medte_eval.systems.corpus import CorpusIndex
    from medte_eval.systems.system import ShowProgress, System
    from medte_eval.systems.texts import TextIndex
    from medte_haystack.encoder import Encoder


OWN_STORES = "own_stores"
"""In a pipeline's settings: whether its document stores were left as its file has them."""


class UnknownSystemError(ValueError):
    """No system has this name, or it does not take an option that was given, or not its value."""


@dataclass(frozen=True, slots=True)
class SystemOptions:
    """What the caller may choose of a system; None where nothing was chosen.

    :param index: Existing index to search instead of one made for the task.
    :param quantisation: Vector index type of an index made for the task.
    :param chunk_tokens: Most tokens of a chunk in it; None keeps documents whole.
    :param num_candidates: Candidates that a shard looks at, at least.
    :param oversample: How many times the hits quantised vectors are compared again as floats, 0 for none.
    :param fusion: How a hybrid search makes two rankings one.
    :param weights: Of its dense and its lexical side.
    :param learned_from: The task, and how many of its queries, that the weights were learned from.
    :param own_stores: Leave the document stores of a pipeline as its file has them.
    :param analyzer: Of the texts in an index made for the task; None takes what the server has for English.
    """

    index: str | None = None
    quantisation: str | None = None
    chunk_tokens: int | None = None
    num_candidates: int | None = None
    oversample: float | None = None
    fusion: str | None = None
    weights: tuple[float, float] | None = None
    learned_from: tuple[str, int] | None = None
    own_stores: bool | None = None
    analyzer: str | None = None

    def given(self) -> set[str]:
        """Return the names of what was chosen."""
        return {one.name for one in fields(self) if getattr(self, one.name) is not None}


class Resources(Protocol):
    """What systems are made of; each is made when it is first asked for, and shared."""

    options: SystemOptions
    show: "ShowProgress"

    @property
    def connection(self) -> "Connection":
        """The server."""
        ...

    @property
    def encoder(self) -> "Encoder":
        """The model."""
        ...

    @property
    def chunks(self) -> "CorpusIndex":
        """An index with vectors."""
        ...

    @property
    def texts(self) -> "TextIndex":
        """An index of whole documents without vectors."""
        ...


@dataclass(frozen=True, slots=True)
class SystemRow:
    """A kind of system.

    :param name: As given to ``--system``.
    :param description: One line.
    :param options: Names of the `SystemOptions` it takes.
    :param open: Makes it; takes what stood behind the colon of its name.
    :param argument: What must stand there; "" for nothing.
    :param uses_server: Whether it needs a server.
    """

    name: str
    description: str
    options: frozenset[str]
    open: Callable[[Resources, str], "System"]
    argument: str = ""
    uses_server: bool = True

    @property
    def usage(self) -> str:
        """The name as one writes it."""
        return f"{self.name}:{self.argument}" if self.argument else self.name


@dataclass(frozen=True, slots=True)
class ChosenSystem:
    """A system that was asked for.

    :param row: Its kind.
    :param argument: What stood behind the colon.
    """

    row: SystemRow
    argument: str = ""

    @property
    def name(self) -> str:
        """As it was asked for."""
        return f"{self.row.name}:{self.argument}" if self.argument else self.row.name

    def open(self, resources: Resources) -> "System":
        """Make it."""
        return self.row.open(resources, self.argument)


def _encoder(given: Resources, argument: str) -> "System":  # noqa: ARG001
    from medte_eval.systems.encoder import EncoderSystem

    return EncoderSystem(given.encoder, show=given.show)


def _dense(given: Resources, argument: str) -> "System":  # noqa: ARG001
    from medte_eval.systems.dense import DenseSystem

    options = given.options
    return DenseSystem(
        given.chunks, num_candidates=options.num_candidates, oversample=options.oversample, show=given.show
    )


def _exact(given: Resources, argument: str) -> "System":  # noqa: ARG001
    from medte_eval.systems.exact import ExactSystem

    return ExactSystem(given.chunks, given.show)


def _bm25(given: Resources, argument: str) -> "System":  # noqa: ARG001
    from medte_eval.systems.bm25 import Bm25System

    chunked = bool(given.options.given() & {"index", "chunk_tokens"})
    return Bm25System(given.chunks if chunked else given.texts, given.show)


def _hybrid(given: Resources, argument: str) -> "System":  # noqa: ARG001
    from medte_eval.systems.hybrid import HybridSystem
    from medte_haystack.retrieval import DEFAULT_FUSION

    options = given.options
    return HybridSystem(
        given.chunks,
        fusion=options.fusion or DEFAULT_FUSION,
        weights=options.weights,
        learned_from=options.learned_from,
        num_candidates=options.num_candidates,
        oversample=options.oversample,
        show=given.show,
    )


def _pipeline(given: Resources, argument: str) -> "System":
    from medte_eval.systems.pipeline import PipelineSystem

    connection = None if given.options.own_stores else given.connection
    return PipelineSystem(Path(argument), given.chunks, connection, given.show)


_TEXTS = frozenset({"index", "chunk_tokens", "analyzer"})
_INDEX = _TEXTS | {"quantisation"}
_OF_HYBRID = {"fusion", "weights", "learned_from"}
_VECTORS = _INDEX | {"num_candidates", "oversample"}

SYSTEMS: Mapping[str, SystemRow] = MappingProxyType(
    {
        row.name: row
        for row in (
            SystemRow(
                "encoder",
                "the model alone: whole documents, exact search by mteb",
                frozenset(),
                _encoder,
                uses_server=False,
            ),
            SystemRow("bm25", "Elasticsearch by words: whole documents, or chunks", _TEXTS, _bm25),
            SystemRow("dense", "Elasticsearch by vectors: whole documents, or chunks", _VECTORS, _dense),
            SystemRow("exact", "brute force over the vectors of the index", _INDEX, _exact),
            SystemRow("hybrid", "Elasticsearch by vectors and by words", _VECTORS | _OF_HYBRID, _hybrid),
            SystemRow(
                "pipeline",
                "any Haystack query pipeline on the task's index",
                _INDEX | {"own_stores"},
                _pipeline,
                argument="FILE.yaml",
            ),
        )
    }
)


def find_systems(names: Sequence[str], options: SystemOptions) -> list[ChosenSystem]:
    """Look systems up and check that they take the options.

    :param names: Such as ``dense`` or ``pipeline:FILE.yaml``.
    :raises UnknownSystemError: If one is not known or lacks its argument, or none of them takes one of the options or
        its value.
    """
    chosen = [_find(name) for name in dict.fromkeys(names)]
    if not chosen:
        raise UnknownSystemError(f"no system is named; the systems are {_known()}")
    taken = frozenset[str]().union(*(one.row.options for one in chosen))
    for option in sorted(options.given() - taken, reverse=True):  # of what a file of weights has these come first
        flag = "--" + option.replace("_", "-")
        raise UnknownSystemError(f"system {', '.join(names)} does not take {flag}; leave it out")
    for one in chosen:
        if one.row.name == "pipeline":
            from medte_eval.systems.pipeline_file import read_pipeline

            read_pipeline(Path(one.argument))
    _check(options)
    if options.index is not None and options.given() & {"quantisation", "chunk_tokens", "analyzer"}:
        raise UnknownSystemError("an existing index has its quantisation, chunks and analyzer; leave those options out")
    return chosen


def _check(options: SystemOptions) -> None:
    """Check the values, before a server and a model are opened for them."""
    from medte_haystack.errors import IndexContractError
    from medte_haystack.index import DEFAULT_QUANTISATION, index_options
    from medte_haystack.retrieval import DEFAULT_FUSION, HybridOptions

    try:
        index_options(options.quantisation or DEFAULT_QUANTISATION, None)
        HybridOptions(
            top_k=1,
            num_candidates=options.num_candidates,
            oversample=options.oversample,
            fusion=options.fusion or DEFAULT_FUSION,
            weights=options.weights,
        )
    except IndexContractError as error:
        raise UnknownSystemError(str(error)) from None


def _find(name: str) -> ChosenSystem:
    kind, _, argument = name.partition(":")
    row = SYSTEMS.get(kind)
    if row is None:
        raise UnknownSystemError(f"unknown system {name!r}; the systems are {_known()}")
    if bool(argument) != bool(row.argument):
        raise UnknownSystemError(f"{name!r} is not how the system is written; write {row.usage}")
    return ChosenSystem(row, argument)


def _known() -> str:
    return ", ".join(row.usage for row in SYSTEMS.values())
