"""The systems by name: one row each. Importing this package is cheap: a system is imported when it is opened."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medte_eval.systems.corpus import CorpusIndex
    from medte_eval.systems.system import ShowProgress, System
    from medte_haystack.encoder import Encoder


class UnknownSystemError(ValueError):
    """No system has this name, or it does not take an option that was given."""


@dataclass(frozen=True, slots=True)
class SystemOptions:
    """What the caller may choose of a system; None where nothing was chosen.

    :param index: Existing index to search instead of one made for the task.
    :param quantisation: Vector index type of an index made for the task.
    :param chunk_tokens: Most tokens of a chunk in it.
    :param num_candidates: Candidates that a shard looks at, at least.
    """

    index: str | None = None
    quantisation: str | None = None
    chunk_tokens: int | None = None
    num_candidates: int | None = None

    def given(self) -> set[str]:
        """Return the names of what was chosen."""
        names = ("index", "quantisation", "chunk_tokens", "num_candidates")
        return {name for name in names if getattr(self, name) is not None}


@dataclass(frozen=True, slots=True)
class SystemRow:
    """A kind of system.

    :param name: As given to ``--system``.
    :param description: One line.
    :param options: Names of the `SystemOptions` it takes.
    :param open: Makes it, of a model, the index it shares (None where `uses_index` is false), options, and progress.
    :param uses_index: Whether it searches an index, and so needs a server.
    """

    name: str
    description: str
    options: frozenset[str]
    open: Callable[["Encoder", "CorpusIndex | None", SystemOptions, "ShowProgress"], "System"]
    uses_index: bool = True


def _encoder(
    encoder: "Encoder",
    index: "CorpusIndex | None",  # noqa: ARG001
    options: SystemOptions,  # noqa: ARG001
    show: "ShowProgress",
) -> "System":
    from medte_eval.systems.encoder import EncoderSystem

    return EncoderSystem(encoder, show=show)


def _dense(
    encoder: "Encoder",  # noqa: ARG001
    index: "CorpusIndex | None",
    options: SystemOptions,
    show: "ShowProgress",  # noqa: ARG001
) -> "System":
    from medte_eval.systems.dense import DenseSystem

    assert index is not None  # noqa: S101  the row says that it uses one
    return DenseSystem(index, num_candidates=options.num_candidates)


def _exact(
    encoder: "Encoder",  # noqa: ARG001
    index: "CorpusIndex | None",
    options: SystemOptions,  # noqa: ARG001
    show: "ShowProgress",  # noqa: ARG001
) -> "System":
    from medte_eval.systems.exact import ExactSystem

    assert index is not None  # noqa: S101  the row says that it uses one
    return ExactSystem(index)


_INDEX_OPTIONS = frozenset({"index", "quantisation", "chunk_tokens"})

SYSTEMS: Mapping[str, SystemRow] = MappingProxyType(
    {
        row.name: row
        for row in (
            SystemRow(
                "encoder",
                "the model alone: whole documents, exact search by mteb",
                frozenset(),
                _encoder,
                uses_index=False,
            ),
            SystemRow(
                "dense",
                "Elasticsearch: chunks indexed and searched as es-ingest does",
                _INDEX_OPTIONS | {"num_candidates"},
                _dense,
            ),
            SystemRow("exact", "brute force over the vectors of the index", _INDEX_OPTIONS, _exact),
        )
    }
)


def find_systems(names: Sequence[str], options: SystemOptions) -> list[SystemRow]:
    """Look systems up and check that they take the options.

    :raises UnknownSystemError: If one is not known, or none of them takes one of the options.
    """
    unknown = next((name for name in names if name not in SYSTEMS), None)
    if unknown is not None or not names:
        what = "no system is named" if unknown is None else f"unknown system {unknown!r}"
        raise UnknownSystemError(f"{what}; the systems are {', '.join(SYSTEMS)}")
    rows = [SYSTEMS[name] for name in dict.fromkeys(names)]
    taken = frozenset[str]().union(*(row.options for row in rows))
    for option in sorted(options.given() - taken):
        flag = "--" + option.replace("_", "-")
        raise UnknownSystemError(f"system {', '.join(names)} does not take {flag}; leave it out")
    if options.index is not None and options.given() & {"quantisation", "chunk_tokens"}:
        raise UnknownSystemError("an existing index has its quantisation and chunks; leave those options out")
    return rows
