"""Haystack's filter language -> an Elasticsearch query that needs no scripts."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from itertools import pairwise
from math import isfinite
from typing import Any

import orjson
from haystack.errors import FilterError
from haystack_integrations.document_stores.elasticsearch.filters import _normalize_filters

from medte_haystack.index import IndexInfo

_MOST_GROUPS = 30  # in each other, as the server takes them


def filter_query(filters: dict[str, Any] | None) -> dict[str, Any] | None:
    """Translate Haystack filters.

    elasticsearch-haystack does the work. Its one script, for ``==`` with a list, is replaced by plain clauses, because
    scripts are switched off on some servers and missing on others.

    :param filters: A comparison or a logical condition, None or empty for no filter.
    :returns: The query, None without filters.
    :raises ValueError: If the filters are neither.
    :raises FilterError: If a condition is malformed, or holds what cannot be written as JSON.
    """
    if not filters:
        return None
    if isinstance(filters, dict) and "operator" not in filters and "conditions" not in filters:
        raise ValueError(
            f"filters with the keys {sorted(filters)} are not of Haystack's filter language: a condition has field,"
            " operator and value; a group has operator and conditions"
        )
    _check_shape(filters)
    try:
        query = {"bool": {"filter": _without_scripts(_normalize_filters(filters))}}
        plain = orjson.dumps(query, default=_as_json, option=orjson.OPT_SERIALIZE_NUMPY)
    except KeyError as error:  # of the table of operators
        raise FilterError(f"operator {error} is none of Haystack's filter language") from None
    except orjson.JSONEncodeError as error:  # a lone surrogate, a number of more than 64 bits, a set
        raise FilterError(f"a filter cannot be written as JSON: {error}") from None
    found: dict[str, Any] = orjson.loads(plain)
    return found


def _as_json(value: Any) -> Any:
    """Return what orjson does not write of itself as Elasticsearch's client does."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, date):  # of a class of its own, such as pandas.Timestamp
        return value.isoformat()
    raise TypeError


def _check_shape(condition: Any, depth: int = 1) -> None:
    """Check what elasticsearch-haystack takes for granted."""
    if not isinstance(condition, dict):
        raise FilterError(f"a condition of a filter is a {type(condition).__name__}; it must be a dictionary")
    for name in ("field", "operator"):
        if not isinstance(condition.get(name, ""), str):
            raise FilterError(f"the {name} of a filter is a {type(condition[name]).__name__}; it must be a string")
    if condition.get("field") == "":
        raise FilterError("the field of a filter is empty; name one, such as meta.source")
    value = condition.get("value")
    values = value if isinstance(value, list) else [value]
    if any(isinstance(one, float | Decimal) and not isfinite(one) for one in values):
        raise FilterError("the value of a filter is a number that is not finite; a field holds none such")
    if any(isinstance(one, list | dict) for one in values):
        raise FilterError("the value of a filter must be a text, a number, a date, a truth value, or a list of such")
    if "field" in condition:
        return
    if depth > _MOST_GROUPS:
        raise FilterError(f"groups of filters lie in each other more than {_MOST_GROUPS} deep; take fewer")
    conditions = condition.get("conditions", [])
    if not isinstance(conditions, list):
        raise FilterError(f"the conditions of a filter are a {type(conditions).__name__}; they must be a list")
    for one in conditions:
        _check_shape(one, depth + 1)


def _without_scripts(query: Any) -> Any:
    if isinstance(query, list):
        return [_without_scripts(one) for one in query]
    if not isinstance(query, dict):
        return query
    clause = query.get("terms_set")  # unless that is the name of a field
    if isinstance(clause, dict) and all(isinstance(one, dict) for one in clause.values()):
        ((field, condition),) = clause.items()
        return _exactly(field, condition["terms"])
    return {key: _without_scripts(value) for key, value in query.items()}


def _exactly(field: str, values: list[Any]) -> dict[str, Any]:
    """Return a query for fields that hold all of the values and no other: none lies between or beside them."""
    if not values:
        return {"bool": {"must_not": {"exists": {"field": field}}}}
    try:
        ordered = sorted(set(values))
    except TypeError:
        raise FilterError(f"the values to compare {field!r} with must be of one type, text or numbers") from None
    gaps: list[dict[str, Any]] = [{"lt": ordered[0]}]
    gaps += [{"gt": low, "lt": high} for low, high in pairwise(ordered)]
    gaps.append({"gt": ordered[-1]})
    return {
        "bool": {
            "must": [{"term": {field: value}} for value in ordered],
            "must_not": [{"range": {field: gap}} for gap in gaps],
        }
    }


def check_filters(filters: dict[str, Any], info: IndexInfo) -> set[str]:
    """Return the fields of Haystack filters that an index does not have: no document has their value, all differ.

    Whether a field is there at all (``==`` and ``!=`` with None) may be asked of any.

    :raises FilterError: If a field is analysed text, whose value as a whole the index does not know.
    """
    unknown = set()
    for condition in _comparisons(filters):
        name = str(condition.get("field", "")).removeprefix("meta.")
        if condition.get("value") is None or name.startswith("_"):
            continue
        kind = info.fields.get(name)
        if kind == "text":
            whole = [one for one, its in info.fields.items() if its == "keyword" and one.startswith(f"{name}.")]
            raise FilterError(
                f"field {name!r} of index {info.name!r} is analysed text, which filters cannot compare; "
                + (f"take {whole[0]!r}, which keeps it whole" if whole else "filter by a keyword, number or date field")
            )
        if kind is None and not any(info.fields.get(above) == "flattened" for above in _above(name)):
            unknown.add(name)
    return unknown


def _comparisons(filters: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "field" in filters:
        yield filters
        return
    for one in filters["conditions"]:
        yield from _comparisons(one)


def _above(name: str) -> Iterator[str]:
    while "." in name:
        name = name.rpartition(".")[0]
        yield name
