"""What a search may be asked for: set once, overridden for a single one."""

from collections.abc import Sequence, Sized
from dataclasses import dataclass, replace
from math import inf
from numbers import Integral, Real
from typing import Any, Self

from medte_haystack.errors import IndexContractError
from medte_haystack.index import MAX_CANDIDATES, MAX_OVERSAMPLING
from medte_haystack.retrieval.fusion import METHODS, Weights

FUSIONS = ("weighted", *METHODS, "server_rrf", "server_linear")
DEFAULT_FUSION = "min_max"
MAX_NEIGHBOURS = 10
_MORE_BY_VECTORS = 10
_LEAST_WINDOW = 10  # of fewer hits each, the best of both sides would often not be among them


@dataclass(frozen=True, slots=True)
class SharedOptions:
    """Options of every search.

    :param top_k: Documents wanted, 1 to 10,000.
    :param num_candidates: Candidates a shard looks at; None takes ten a hit, at least 100.
    :param oversample: How many times the hits quantised vectors are compared again as floats, 1 to 10, 0 for none; None
        leaves it to the index, and takes 2 for int8 if it says nothing.
    :param min_similarity: Least cosine.
    :param return_embedding: Whether hits carry their vectors.
    :param collapse: Each source document once, with its best chunk; None where the index follows the contract.
    :param neighbours: Chunks before and after each hit that come with it, 0 to 10.
    :raises IndexContractError: If a number is out of range.
    """

    top_k: int = 10
    num_candidates: int | None = None
    oversample: float | None = None
    min_similarity: float | None = None
    return_embedding: bool = False
    collapse: bool | None = False
    neighbours: int = 0

    def __post_init__(self) -> None:
        """Check the ranges that hold whatever the index is."""
        _check("top_k", self.top_k, 1, MAX_CANDIDATES, "Elasticsearch takes")
        if self.num_candidates is not None:
            takes = f"with top_k {self.top_k} it takes"
            _check("num_candidates", self.num_candidates, self.top_k, MAX_CANDIDATES, takes)
        if self.oversample:
            takes = "Elasticsearch takes 0 for none, or"
            _check("oversample", self.oversample, 1, MAX_OVERSAMPLING, takes, whole=False)
        if self.min_similarity is not None:
            _check("min_similarity", self.min_similarity, -1, 1, "a cosine is", whole=False)
        _check("neighbours", self.neighbours, 0, MAX_NEIGHBOURS, "there are")

    def overridden(self, **given: Any) -> Self:
        """Return the options with others in the place of these; None keeps what was."""
        given = {name: value for name, value in given.items() if value is not None}
        return replace(self, **given) if given else self


@dataclass(frozen=True, slots=True)
class SearchOptions(SharedOptions):
    """Options of a dense search.

    :param exact: Compare with every vector.
    """

    exact: bool = False


@dataclass(frozen=True, slots=True)
class HybridOptions(SharedOptions):
    """Options of a dense and a lexical search that are made one.

    :param fusion: One of `FUSIONS`.
    :param weights: Of the dense and the lexical side; None takes :func:`default_weights`.
    :param window: Hits that each side gives to the fusion, `top_k` to 10,000; None takes `top_k` of the words, at least
        10, and ten more of the vectors.
    """

    fusion: str = DEFAULT_FUSION
    weights: Sequence[float] | None = None
    window: int | None = None

    def __post_init__(self) -> None:
        """Check the ranges that hold whatever the index is."""
        SharedOptions.__post_init__(self)
        if self.fusion not in FUSIONS:
            raise IndexContractError(
                f"fusion {self.fusion!r} is unknown; there are {', '.join(FUSIONS)}", fusion=self.fusion
            )
        weights = self.weights
        if weights is not None and not (
            isinstance(weights, Sized)
            and len(weights) == 2
            and all(isinstance(one, Real) and 0 <= one < inf for one in weights)
            and any(weights)
        ):
            raise IndexContractError(
                f"weights are {weights}; give two numbers, dense and lexical, from 0 and not both 0", weights=weights
            )
        if self.window is not None:
            _check("window", self.window, self.top_k, MAX_CANDIDATES, f"with top_k {self.top_k} it takes")

    @property
    def dense_hits(self) -> int:
        """Hits that the vectors give to the fusion."""
        return self.window or min(MAX_CANDIDATES, self.lexical_hits + _MORE_BY_VECTORS)

    @property
    def lexical_hits(self) -> int:
        """Hits that the words give to the fusion: what only they rank behind `top_k` would not come back anyway."""
        return self.window or max(self.top_k, _LEAST_WINDOW)

    @property
    def weighted(self) -> Weights:
        """The weights, chosen or by default."""
        return Weights(*self.weights) if self.weights is not None else default_weights(self.fusion)


def default_weights(fusion: str) -> Weights:
    """Return the weights that do well on MedQuAD and SciFact; learn your own from judgements where you have some."""
    return {"weighted": Weights(250.0, 1.0), "rrf": Weights(0.5, 0.5), "server_rrf": Weights(0.5, 0.5)}.get(
        fusion, Weights(0.6, 0.4)
    )


def _check(name: str, value: float, low: float, high: float, takes: str, *, whole: bool = True) -> None:
    if not isinstance(value, Integral if whole else Real) or isinstance(value, bool):
        kind = "a whole number" if whole else "a number"
        raise IndexContractError(
            f"{name} is {value!r}; it must be {kind}, {takes} {low:g} to {high:g}", **{name: value}
        )
    if not low <= value <= high:
        raise IndexContractError(f"{name} is {value:g}; {takes} {low:g} to {high:g}", **{name: value})
