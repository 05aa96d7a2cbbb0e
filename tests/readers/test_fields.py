import datetime
import hashlib
import uuid
from decimal import Decimal
from typing import Any

import pytest

from es_ingest.readers.fields import RowMapper
from es_ingest.readers.mapping import FieldMapping
from es_ingest.records import Malformed, ReadError, Record


def record(row: dict[str, Any], fields: FieldMapping | None = None, **options: bool) -> Record:
    result = RowMapper(fields, **options)(row, "f:1")
    assert isinstance(result, Record), result
    return result


def reason(row: dict[str, Any], fields: FieldMapping | None = None) -> str:
    result = RowMapper(fields)(row, "f:1")
    assert isinstance(result, Malformed), result
    assert result.position == "f:1"
    return result.reason


def test_defaults_take_the_first_known_field_and_keep_the_rest() -> None:
    row = {"pmid": 12, "doc_id": "d", "title": "T", "abstract": " a ", "body": "b", "year": 2019, "none": None}
    assert record(row) == Record("d", "T", " a ", {"pmid": 12, "body": "b", "year": 2019}, "f:1")


def test_a_row_without_an_id_field_gets_its_content_as_id() -> None:
    row = {"title": "Ä", "text": "text", "year": 1, "of": {"a": [1, 2], "b": 2.5}}
    expected = hashlib.sha256(
        b'["\\u00c4", "text", {"of": {"a": [1, 2], "b": 2.5}, "year": 1}]'  # the same in every version and on every run
    ).hexdigest()[:32]
    assert record(row).id == expected


@pytest.mark.parametrize(
    "row",
    [
        {"of": {"b": 2.5, "a": [1, 2]}, "year": 1, "text": "text", "title": "Ä"},
        {"title": "Ä", "text": "text", "year": 1, "of": {"a": (1, 2), "b": Decimal("2.5")}, "none": None, "blank": ""},
    ],
    ids=["in another order", "spelt in another way"],
)
def test_the_same_content_is_the_same_record(row: dict[str, Any]) -> None:
    assert record(row).id == record({"title": "Ä", "text": "text", "year": 1, "of": {"a": [1, 2], "b": 2.5}}).id


def test_what_differs_in_anything_that_is_kept_is_another_record() -> None:
    rows: list[dict[str, Any]] = [
        {"title": "Ä", "text": "text"},
        {"title": "", "text": "text"},
        {"title": "Ä", "text": "text", "patient": 1},
        {"title": "Ä", "text": "text", "patient": 2},
        {"title": "Ä", "text": "text", "patient": "1"},
        {"title": "Ä", "text": "text", "visit": 1},
        {"title": "Ä", "text": "text", "of": {"patient": 1}},
        {"title": "Ä\ntext", "text": "text"},
        {"title": "Ä", "text": "text\ntext"},
    ]
    assert len({record(row).id for row in rows}) == len(rows)
    kept = FieldMapping(meta=("visit",))
    assert len({record(row, kept).id for row in rows[2:5]}) == 1, "they are the same without what is not kept"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a", "a"),
        (" a ", " a "),
        (0, "0"),
        (-5, "-5"),
        (12.0, "12"),
        (1.5, "1.5"),
        (1e300, "1e+300"),
        (Decimal("12.00"), "12"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ],
)
def test_ids_become_strings(value: object, expected: str) -> None:
    assert record({"id": value, "text": "x"}).id == expected


@pytest.mark.parametrize("value", ["", "  ", None, float("nan")])
def test_an_empty_id_is_malformed(value: object) -> None:
    assert reason({"id": value, "text": "x"}) == "empty id in field 'id'"


@pytest.mark.parametrize(
    ("value", "kind"), [(True, "true or false"), ([1], "a list"), ({}, "an object"), (b"x", "binary")]
)
def test_an_id_of_another_type_is_malformed(value: object, kind: str) -> None:
    assert reason({"id": value, "text": "x"}) == f"id field 'id' is {kind}, not a string or a number"


@pytest.mark.parametrize("text", ["", " ", "\n\t\u00a0"])
def test_blank_text_is_malformed(text: str) -> None:
    assert reason({"id": 1, "text": text}) == "empty text"


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (1, "a number"),
        (1.5, "a number"),
        (["a"], "a list"),
        (None, "null"),
        ({}, "an object"),
        (False, "true or false"),
    ],
)
def test_text_of_another_type_is_malformed(value: object, kind: str) -> None:
    assert reason({"id": 1, "text": value}) == f"text field 'text' is {kind}, not a string"


def test_titles() -> None:
    assert record({"title": None, "text": "x"}).title == ""
    assert record({"title": 5, "text": "x"}).title == "5"
    assert reason({"title": ["a"], "text": "x"}) == "title field 'title' is a list, not a string"


def test_several_text_fields_are_joined_by_a_blank_line() -> None:
    fields = FieldMapping(text=("a", "b", "c", "d"))
    assert record({"a": " one\n", "b": None, "c": " ", "d": "two"}, fields).text == " one\n\n\ntwo"
    assert reason({"a": "", "b": None, "c": " ", "d": ""}, fields) == "empty text"
    assert reason({"a": "one", "b": 2, "c": "", "d": ""}, fields) == "text field 'b' is a number, not a string"
    assert reason({"a": "one"}, fields) == "has no field 'b'; it has 'a'"


def test_dotted_paths_reach_into_objects_and_leave_their_neighbours_in_the_metadata() -> None:
    row = {"key": {"id": 7}, "article": {"title": "T", "body": {"text": "x"}, "year": 1}, "a.b": "literal"}
    fields = FieldMapping(id="key.id", title="article.title", text=("article.body.text",))
    assert record(row, fields) == Record("7", "T", "x", {"article": {"year": 1}, "a.b": "literal"}, "f:1")
    assert record(row, FieldMapping(text=("a.b",))).text == "literal"
    assert reason(row, FieldMapping(text=("article.title.text",))).startswith("has no field 'article.title.text'; it")


def test_named_metadata_only_and_what_no_row_has_is_remembered() -> None:
    mapper = RowMapper(FieldMapping(meta=("year", "a.b", "typo")))
    result = mapper({"text": "x", "year": 1, "a": {"b": [1, None]}, "other": 2}, "f:1")
    assert isinstance(result, Record)
    assert result.meta == {"year": 1, "a.b": [1, None]}
    assert mapper.unseen == {"typo"}


def test_a_named_field_that_the_row_lacks_is_malformed() -> None:
    assert reason({"id": 1, "text": "x"}, FieldMapping(id="key")).startswith("has no field 'key'; it")
    assert reason({"id": 1, "text": "x"}, FieldMapping(title="name")).startswith("has no field 'name'; it")
    assert reason({"id": 1, "note": "x"}) == (
        "has no text field such as 'text', 'content', 'abstract', 'body', 'answer' (--text-field names another); it has"
        " 'id', 'note'"
    )


def test_lone_surrogates_become_replacement_characters() -> None:
    row = {"id": "\ud800", "title": "\udfff", "text": "a\ud800b😀", "k\ud800": [{"x\udc00": "\udc00"}]}
    expected = Record("\ufffd", "\ufffd", "a\ufffdb😀", {"k\ufffd": [{"x\ufffd": "\ufffd"}]}, "f:1")
    assert record(row) == expected
    assert record({"text": "a\ud800"}).id == record({"text": "a\ufffd"}).id


def test_metadata_becomes_what_json_can_hold() -> None:
    row = {
        "text": "x",
        "date": datetime.date(2020, 1, 2),
        "stamp": datetime.datetime(2020, 1, 2, 3, 4, 5, tzinfo=datetime.UTC),
        "time": datetime.time(3, 4),
        "span": datetime.timedelta(seconds=90),
        "price": Decimal("1.50"),
        "uuid": uuid.UUID(int=1),
        "pairs": [("a", 1)],
    }
    assert record(row).meta == {
        "date": "2020-01-02",
        "stamp": "2020-01-02T03:04:05+00:00",
        "time": "03:04:00",
        "span": 90.0,
        "price": 1.5,
        "uuid": "00000000-0000-0000-0000-000000000001",
        "pairs": [["a", 1]],
    }


def test_numbers_that_are_not_finite() -> None:
    nan = float("nan")
    assert reason({"text": "x", "a": {"b": [1.0, nan]}}) == (
        "field 'a.b' is nan; Elasticsearch takes finite numbers only"
    )
    assert record({"text": "x", "title": nan, "a": nan, "b": [nan, 1.0]}, nan_is_null=True).meta == {"b": [None, 1.0]}


def test_values_that_metadata_cannot_hold_are_named() -> None:
    assert reason({"text": "x", "a": b"raw"}) == "field 'a' is binary, which metadata cannot hold"
    assert reason({"text": "x", "a": 1j}) == "field 'a' is of type complex, which metadata cannot hold"


def test_a_mapping_takes_a_single_name_or_any_sequence() -> None:
    assert FieldMapping(text="a", meta=["b", "c"]) == FieldMapping(text=("a",), meta=("b", "c"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a field name is blank"):
        FieldMapping(id=" ")


def test_a_header_without_the_fields_is_named_but_never_quotes_what_may_be_text() -> None:
    with pytest.raises(ReadError, match=r"has no field 'name'; it has 'id', 'text', 1 more$"):
        FieldMapping(id="name").check("f.csv", ["id", "text", "The patient was seen on Monday."])
    with pytest.raises(ReadError, match=r"has no text field such as .*; it has 'id', 'note'$"):
        FieldMapping().check("f.csv", ["id", "note"])
