"""Which model and which chunking made an index: kept in its mapping, compared before reading and writing."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol, Self

from medte_haystack.errors import FingerprintMismatchError
from medte_haystack.index.contract import CONTRACT_VERSION
from medte_haystack.index.mapping import META_KEY


class _Spec(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def hub_id(self) -> str: ...
    @property
    def revision(self) -> str | None: ...
    @property
    def dim(self) -> int: ...
    @property
    def pooling(self) -> str: ...
    @property
    def query_prefix(self) -> str: ...
    @property
    def passage_prefix(self) -> str: ...
    @property
    def max_tokens(self) -> int: ...


class _Encoder(Protocol):
    dim: int

    @property
    def spec(self) -> _Spec: ...
    @property
    def weights_sha256(self) -> str: ...
    @property
    def max_tokens(self) -> int: ...
    @property
    def precision(self) -> str: ...


# What decides the vector space: a query made otherwise would find nothing sensible.
_SPACE = ("contract", "dim", "pooling", "normalised", "query_prefix", "passage_prefix")
# What decides which text the vectors stand for: an index of mixed chunking ranks unfairly.
_CHUNKS = ("max_tokens", "chunk_tokens", "chunk_overlap", "embedded_fields")


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What made the vectors of an index.

    :param model: Hub id or folder name of the model.
    :param revision: Resolved commit on the hub, if it came from there.
    :param weights_sha256: sha256 of the weights; decides alone whether two models are the same, where both are known.
    :param dim: Dimensions.
    :param pooling: ``mean`` or ``cls``; None if that is not known, as of vectors that another program has made.
    :param query_prefix: Put before queries; None if that is not known.
    :param passage_prefix: Put before passages; None if that is not known.
    :param max_tokens: Longest passage in tokens.
    :param precision: What the encoder computed in; recorded, not compared.
    :param chunk_tokens: Most tokens of a chunk, None if documents were not split.
    :param chunk_overlap: Tokens shared by neighbouring chunks.
    :param embedded_fields: Fields whose text the vector is made of, in order; None if that is not known.
    :param analyzer: Of the text fields; recorded, not compared.
    :param normalised: Whether the vectors have unit length.
    :param contract: Version of the index contract.
    """

    model: str
    dim: int
    pooling: str | None
    revision: str | None = None
    weights_sha256: str | None = None
    query_prefix: str | None = ""
    passage_prefix: str | None = ""
    max_tokens: int | None = None
    precision: str | None = None
    chunk_tokens: int | None = None
    chunk_overlap: int | None = None
    embedded_fields: tuple[str, ...] | None = None
    analyzer: str | None = None
    normalised: bool = True
    contract: int = CONTRACT_VERSION

    @classmethod
    def of_encoder(cls, encoder: _Encoder, *, chunk_tokens: int | None = None, chunk_overlap: int = 0) -> Self:
        """Return the fingerprint of what a loaded encoder makes."""
        spec = encoder.spec
        return cls(
            model=spec.hub_id or spec.name,
            revision=spec.revision,
            weights_sha256=encoder.weights_sha256,
            dim=encoder.dim,
            pooling=spec.pooling,
            query_prefix=spec.query_prefix,
            passage_prefix=spec.passage_prefix,
            max_tokens=encoder.max_tokens,
            precision=encoder.precision,
            chunk_tokens=chunk_tokens,
            chunk_overlap=chunk_overlap,
            embedded_fields=("title", "content"),
        )

    @classmethod
    def of_spec(cls, spec: _Spec, *, weights_sha256: str | None = None) -> Self:
        """Return the fingerprint of a model that is not loaded, such as a registry row."""
        return cls(
            model=spec.hub_id or spec.name,
            revision=spec.revision,
            weights_sha256=weights_sha256,
            dim=spec.dim,
            pooling=spec.pooling,
            query_prefix=spec.query_prefix,
            passage_prefix=spec.passage_prefix,
        )

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self | None:
        """Return the fingerprint in a mapping's `_meta`; None if the index was made by something else."""
        found = mapping.get("_meta", {}).get(META_KEY)
        if not isinstance(found, Mapping) or not {"model", "dim", "pooling"} <= found.keys():
            return None
        known = {one.name for one in fields(cls)}
        values = {name: value for name, value in found.items() if name in known}
        if values.get("embedded_fields") is not None:
            values["embedded_fields"] = tuple(values["embedded_fields"])
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return it as it goes to `_meta`."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def check_reader(self, reader: "Fingerprint", *, index: str) -> None:
        """Check that `reader`'s queries belong to this index's vector space.

        :param index: Name of the index, for the message.
        :raises FingerprintMismatchError: If they do not; names both values.
        """
        self._refuse(self._model_difference(reader) or self._difference(reader, _SPACE), index, "search it with")

    def check_writer(self, writer: "Fingerprint", *, index: str) -> None:
        """Check that `writer`'s documents may join this index: the same vector space and the same chunking.

        :raises FingerprintMismatchError: If they may not; names both values.
        """
        found = self._model_difference(writer) or self._difference(writer, _SPACE + _CHUNKS)
        self._refuse(found, index, "add to it with")

    def _model_difference(self, other: "Fingerprint") -> tuple[str, Any, Any] | None:
        if self.weights_sha256 and other.weights_sha256:
            if self.weights_sha256 == other.weights_sha256:
                return None
            mine, theirs = self.weights_sha256[:12], other.weights_sha256[:12]
            return ("model", f"{self.model} (weights {mine}…)", f"{other.model} (weights {theirs}…)")
        return None if self.model == other.model else ("model", self.model, other.model)

    def _difference(self, other: "Fingerprint", names: tuple[str, ...]) -> tuple[str, Any, Any] | None:
        for name in names:
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs and None not in (mine, theirs):
                return (name, mine, theirs)
        return None

    def _refuse(self, difference: tuple[str, Any, Any] | None, index: str, verb: str) -> None:
        if difference is None:
            return
        name, mine, theirs = difference
        if name == "contract":
            verb = "use a version of this package for contract"
        raise FingerprintMismatchError(
            f"index {index!r} was made with {name} {mine!r}, not {theirs!r}; {verb} {mine!r}, or make a new index",
            index=index,
            field=name,
            expected=mine,
            found=theirs,
        )
