"""Haystack's filters as a query: slips of a caller, and names that could be taken for something else."""

from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import orjson
import pytest
from haystack.errors import FilterError

from medte_haystack.components.filters import check_filters, filter_query
from medte_haystack.index import IndexInfo

ONE = {"field": "meta.a", "operator": "==", "value": 1}


def nested(deep):
    found = ONE
    for _ in range(deep):
        found = {"operator": "NOT", "conditions": [found]}
    return found


@pytest.mark.parametrize(
    ("odd", "says"),
    [
        ([ONE], "a condition of a filter is a list; it must be a dictionary"),
        ({**ONE, "field": 5}, "the field of a filter is a int; it must be a string"),
        ({**ONE, "field": None}, "the field of a filter is a NoneType"),
        ({**ONE, "operator": ["=="]}, "the operator of a filter is a list"),
        ({**ONE, "operator": "~"}, "operator '~' is none of Haystack's filter language"),
        ({"field": "meta.a", "operator": "=="}, "'value' key missing"),
        ({**ONE, "value": {"b": 1}}, "the value of a filter must be a text"),
        ({**ONE, "value": [1, [2]]}, "the value of a filter must be a text"),
        ({**ONE, "field": ""}, "the field of a filter is empty"),
        ({**ONE, "value": float("nan")}, "a number that is not finite"),
        ({**ONE, "value": [1.0, float("inf")]}, "a number that is not finite"),
        ({**ONE, "value": "\ud800"}, "cannot be written as JSON: str is not valid UTF-8"),
        ({**ONE, "value": 2**70}, "cannot be written as JSON: Integer exceeds 64-bit range"),
        ({**ONE, "value": {1, 2}}, "cannot be written as JSON: Type is not JSON serializable: set"),
        ({**ONE, "value": b"a"}, "cannot be written as JSON: Type is not JSON serializable: bytes"),
        ({**ONE, "value": Decimal("NaN")}, "a number that is not finite"),
        ({"operator": "AND"}, "'conditions' key missing"),
        ({"operator": "XOR", "conditions": [ONE]}, "Unknown logical operator 'XOR'"),
        ({"operator": "AND", "conditions": None}, "the conditions of a filter are a NoneType; they must be a list"),
        ({"operator": "AND", "conditions": [5]}, "a condition of a filter is a int"),
        (nested(31), "groups of filters lie in each other more than 30 deep"),
        (nested(900), "groups of filters lie in each other more than 30 deep"),
    ],
)
def test_a_malformed_one_is_an_error_that_says_what_is_wrong(odd, says):
    with pytest.raises(FilterError, match=says):
        filter_query(odd)


def test_what_is_not_malformed():
    for value in (None, True, 0.5, "2020-01-01", date(2020, 1, 1), ["a", "b"], []):
        assert filter_query({**ONE, "value": value})
    assert filter_query(nested(30))
    assert check_filters({**ONE, "conditions": 5}, IndexInfo("notes", 2, "cosine", "hnsw", None)) == {"a"}
    assert filter_query(None) is filter_query({}) is None


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (Decimal("1.5"), 1.5),
        (np.float32(0.5), 0.5),
        (date(2020, 1, 1), "2020-01-01"),
        (datetime(2020, 1, 1, 12, tzinfo=UTC), "2020-01-01T12:00:00+00:00"),
        (type("Timestamp", (datetime,), {})(2020, 1, 1), "2020-01-01T00:00:00"),
    ],
)
def test_values_are_written_as_the_client_writes_them(value, written):
    assert filter_query({**ONE, "value": value}) == filter_query({**ONE, "value": written})
    orjson.dumps(filter_query({**ONE, "operator": "in", "value": [value]}))  # as a search is written


@pytest.mark.parametrize("operator", ["==", "!=", "in", "not in", "<"])
def test_a_field_may_have_the_name_of_a_clause(operator):
    value = [1, 2] if "in" in operator else 1
    found, same = (filter_query({"field": name, "operator": operator, "value": value}) for name in ("terms_set", "x"))
    assert str(found) == str(same).replace("'x'", "'terms_set'")
