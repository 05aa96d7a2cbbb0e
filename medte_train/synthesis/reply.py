"""What a language model answered, checked against the note: only what stands there word for word is used."""

import json
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, Field, StringConstraints, ValidationError

from medte_haystack.training.near import words_of

NO_JSON = "reply is no JSON of the asked form"
FIELDS = "field missing or of another type"
TYPE = "query type that was not asked for"
COPIED = "query is a passage of the note"
POSITIVE = "positive is not in the note"
SHORT = "positive too short"
NEGATIVE = "negative is not in the note"
OVERLAP = "negative overlaps the positive"
RELEVANCE = "relevance too low"

_FEWEST_WORDS = 5  # of a positive
_COPIED_WORDS = 8  # of a query that is found in the note: fewer may be a term
_MARKS = " \t\r\n\"'“”`"
_FENCE = re.compile(r"```[a-z]*\s*(.*?)```", re.DOTALL)
_NotBlank = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class _Item(BaseModel):
    type: str
    query: Annotated[_NotBlank, StringConstraints(max_length=500)]
    positive: _NotBlank
    negative: _NotBlank | None
    relevance: Annotated[float, Field(ge=0, le=1)]


class _Reply(BaseModel):
    queries: list[Any]


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage of a note.

    :param start: Its first character in the note.
    :param end: One past its last.
    """

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Made:
    """A query with its passages.

    :param type: A name in `QUERY_TYPES`.
    :param negative: None where the note has none.
    :param relevance: As the model says, 0 to 1.
    """

    type: str
    query: str
    positive: Passage
    negative: Passage | None
    relevance: float


@dataclass(slots=True)
class Checked:
    """What is in a reply.

    :param made: What can be used.
    :param problems: What is wrong with the rest, for the model: reasons above, and the words that tell it.
    :param left_out: What the model itself rates too low.
    """

    made: list[Made] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    left_out: int = 0


def check(reply: str, note: str, types: Collection[str], least_relevance: float) -> Checked:
    """Read a reply.

    :param types: Those that were asked for.
    :param least_relevance: Queries that the model rates below are left out.
    """
    found = Checked()
    try:
        queries = _Reply.model_validate_json(_json_in(reply)).queries
    except ValidationError as error:
        found.problems.append((NO_JSON, f"The reply as a whole: {_said(error)}."))
        return found
    if not queries:
        found.problems.append((NO_JSON, '"queries" is empty.'))
    for number, row in enumerate(queries, start=1):
        try:
            item = _Item.model_validate(row)
        except ValidationError as error:
            found.problems.append((FIELDS, f"Query {number}: {_said(error)}."))
            continue
        if item.relevance < least_relevance:
            found.left_out += 1
            continue
        one = _checked(item, note, types)
        if isinstance(one, Made):
            found.made.append(one)
        else:
            found.problems.append((one[0], f"Query {number}, {json.dumps(item.query, ensure_ascii=False)}: {one[1]}"))
    return found


def find(passage: str, note: str) -> Passage | None:
    """Find a passage in a note word for word; white space alone may differ, and quotation marks around it.

    :returns: The first place; None if there is none.
    """
    for text in (passage, passage.strip(_MARKS)):
        if text and (start := note.find(text)) >= 0:
            return Passage(start, start + len(text))
    words = passage.strip(_MARKS).split()
    match = re.search(r"\s+".join(map(re.escape, words)), note) if words else None
    return Passage(match.start(), match.end()) if match else None


def _checked(item: _Item, note: str, types: Collection[str]) -> Made | tuple[str, str]:
    """Return an item with its places in the note, or a reason and what the model is told."""
    positive = find(item.positive, note)
    negative = None if item.negative is None else find(item.negative, note)
    if item.type not in types:
        return TYPE, f'"type" must be one of {", ".join(types)}.'
    if positive is None:
        return POSITIVE, '"positive" is not a passage of the note: copy it character by character.'
    if len(words_of(note[positive.start : positive.end])) < _FEWEST_WORDS:
        return SHORT, '"positive" is too short: copy two or three whole sentences.'
    if len(words_of(item.query)) >= _COPIED_WORDS and find(item.query, note):
        return COPIED, '"query" is copied from the note: ask in words of your own.'
    if item.negative is not None and negative is None:
        return NEGATIVE, '"negative" is not a passage of the note: copy it character by character, or write null.'
    if negative is not None and negative.start < positive.end and positive.start < negative.end:
        return OVERLAP, '"negative" overlaps "positive": take another passage, or write null.'
    return Made(item.type, item.query, positive, negative, item.relevance)


def _json_in(reply: str) -> str:
    """Return the JSON object in a reply, without what stands around it."""
    fenced = _FENCE.search(reply)
    text = fenced[1] if fenced else reply
    start, end = text.find("{"), text.rfind("}")
    return text[start : end + 1] if 0 <= start < end else text


def _said(error: ValidationError) -> str:
    """Say what is wrong without the values, which the model knows."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"]))
    return f"field {place!r}: {first['msg']}" if place else str(first["msg"])
