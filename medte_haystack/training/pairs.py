"""Training pairs: two texts that belong together, what else is known of them, and the row of a file that holds one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from medte_haystack.encoder.tokenise import replace_surrogates
from medte_haystack.errors import TrainingDataError

_NONE: Mapping[str, str] = MappingProxyType({})


class PairError(TrainingDataError):
    """A row is no training pair; names the field, never its text."""


@dataclass(frozen=True, slots=True)
class Pair:
    """An anchor, a text that belongs to it, and texts that do not.

    :param id: Unique within its source and the same on every run, never blank.
    :param source: Name of the source; batches are of one source.
    :param anchor: Text 1 (title, question, query). Never blank.
    :param positive: Text 2 (abstract, answer, passage). Never blank.
    :param negatives: Texts that look like a positive and are none, the hardest first; none blank.
    :param keys: Ids by which overlap with other data is told, such as ``pmid``, ``nct``, ``hadm_id``, by their kind.
    :param anchor_keys: The same of text 1, where it has others.
    :param group: What pairs have in common whose texts are no negatives of one another, such as the note or the disease
        that they are about; blank for none.
    """

    id: str
    source: str
    anchor: str
    positive: str
    negatives: tuple[str, ...] = ()
    keys: Mapping[str, str] = field(default_factory=lambda: _NONE)
    anchor_keys: Mapping[str, str] = field(default_factory=lambda: _NONE)
    group: str = ""

    def to_row(self) -> dict[str, Any]:
        """Return the JSON object of its line: ``id``, ``source``, ``anchor``, ``positive``, and what else is set."""
        row: dict[str, Any] = {
            "id": self.id,
            "source": self.source,
            "anchor": self.anchor,
            "positive": self.positive,
        }
        if self.negatives:
            row["negatives"] = list(self.negatives)
        for name, keys in (("keys", self.keys), ("anchor_keys", self.anchor_keys)):
            if keys:
                row[name] = dict(keys)
        if self.group:
            row["group"] = self.group
        return row


def pair_of(row: Mapping[str, Any]) -> Pair:
    """Return the pair that a row holds; fields it does not know are left alone.

    :param row: As :meth:`Pair.to_row` returns it.
    :raises PairError: If a field is missing, blank or of another type.
    """
    texts = {name: _text(row, name) for name in ("id", "source", "anchor", "positive")}
    negatives, group = row.get("negatives") or [], row.get("group") or ""
    if not isinstance(negatives, list | tuple) or not all(isinstance(one, str) and one.strip() for one in negatives):
        raise PairError("field 'negatives' is not a list of strings that are not blank", field="negatives")
    if not isinstance(group, str):
        raise PairError("field 'group' is not a string", field="group")
    return Pair(
        **texts,
        negatives=tuple(map(replace_surrogates, negatives)),
        keys=_keys(row, "keys"),
        anchor_keys=_keys(row, "anchor_keys"),
        group=replace_surrogates(group),
    )


def _keys(row: Mapping[str, Any], name: str) -> dict[str, str]:
    keys = row.get(name) or {}
    if not isinstance(keys, Mapping) or not all(isinstance(one, str) for both in keys.items() for one in both):
        raise PairError(f'field {name!r} is not an object of strings, as in {{"pmid": "123"}}', field=name)
    return dict(keys)


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        found = "missing" if value is None else "blank" if isinstance(value, str) else "not a string"
        raise PairError(f"field {name!r} is {found}; a pair has id, source, anchor and positive", field=name)
    return replace_surrogates(value)
