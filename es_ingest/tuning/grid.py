"""The settings that are measured: quantisation, oversampling, num_candidates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medte_haystack.index import MAX_CANDIDATES, default_num_candidates, default_oversampling
from medte_haystack.index.contract import EMBEDDING
from medte_haystack.index.mapping import oversampling_of

OVERSAMPLING = (0.0, 1.5, 3.0, 5.0)
_CANDIDATES_A_HIT = (2, 5, 10, 20, 50)
_FLOATS = frozenset({"hnsw", "flat"})  # stored as they are: nothing to compare again


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to search.

    :param quantisation: Vector index type, as `es-ingest run --quantisation` names it.
    :param oversampling: How many times k quantised vectors are compared again as floats; 0 for none.
    :param num_candidates: Candidates that a shard looks at.
    """

    quantisation: str
    oversampling: float
    num_candidates: int

    @property
    def rescored(self) -> float | None:
        """The oversampling to ask the server for; None where vectors are floats anyway."""
        return None if self.quantisation in _FLOATS else self.oversampling

    def knn(self, top_k: int) -> dict[str, Any]:
        """Return what it adds to the `knn` part of a search."""
        rescore = {} if self.rescored is None else {"rescore_vector": {"oversample": self.rescored}}
        return {"k": top_k, "num_candidates": self.num_candidates, **rescore}

    def __str__(self) -> str:
        rescore = "" if self.rescored is None else f", oversampling {self.rescored:g}"
        return f"{self.quantisation}{rescore}, num_candidates {self.num_candidates:,}"


def default_candidates(top_k: int) -> list[int]:
    """Return the numbers of candidates to try: 2 to 50 a hit, and what a search takes that names none."""
    tried = {min(MAX_CANDIDATES, top_k * times) for times in _CANDIDATES_A_HIT}
    return sorted(tried | {default_num_candidates(top_k)})


def grid(
    quantisations: Sequence[str], oversampling: Sequence[float], num_candidates: Sequence[int], top_k: int
) -> list[Setting]:
    """Return every combination that differs from the others.

    Floats are not rescored, and a flat index looks at everything whatever the candidates. Where oversampling asks for
    more than `num_candidates`, the server raises it: such a setting is left out.

    :param top_k: Hits a query.
    """
    found: list[Setting] = []
    for kind in quantisations:
        tried = [default_num_candidates(top_k)] if kind == "flat" else sorted(set(num_candidates))
        for rescore in [0.0] if kind in _FLOATS else sorted(set(oversampling)):
            found += [Setting(kind, rescore, one) for one in tried if one >= top_k * max(rescore, 1)]
    return found


def setting_today(quantisation: str, field: Mapping[str, Any], top_k: int) -> Setting:
    """Return what a search gets that names neither oversampling nor candidates, by this package's defaults.

    :param quantisation: Of the index.
    :param field: Mapping of its vector field.
    """
    rescore = oversampling_of({"properties": {EMBEDDING: field}})
    if rescore is None:
        rescore = default_oversampling(quantisation) or 0.0
    return Setting(quantisation, rescore, default_num_candidates(top_k))
