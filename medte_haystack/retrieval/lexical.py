"""The query's text as BM25 gets it; pure functions."""

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

from medte_haystack.errors import IndexContractError
from medte_haystack.index import IndexInfo
from medte_haystack.index.contract import CONTENT, TITLE

logger = logging.getLogger(__name__)

MAX_TERMS = 256  # the server takes at least 1024 clauses, and a clause is a term in a field; long queries are slow too
_TEXT = frozenset({"text", "match_only_text", "annotated_text", "search_as_you_type"})
# At most: an analyzer joins letters of other alphabets to words, or takes each; it cuts words at 255 characters, and
# takes emoji and other symbols one by one.
_TERM = re.compile(r"[0-9A-Za-z]{1,255}|\w|[\u00a9\u00ae\u203c-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001ffff]")

# Lucene's stop words of English, which the analyzer `english` leaves out of texts and queries anyway; and the words
# that questions are put in.
_STOP = re.compile(
    "a|an|and|are|as|at|be|but|by|for|if|in|into|is|it|no|not|of|on|or|such|that|the|their|then|there|these|they|this"
    "|to|was|will|with"
    "|what|who|whom|whose|which|when|where|why|how|do|does|did|can|could|may|might|should|would|has|have|had|am|were"
    "|been|being|you|he|she|we|me|him|her|us|my|your|his|our|its|them|from|about|than|so|any|some"
)
_AROUND = "()[]\"'.,;:?!"


def text_fields(info: IndexInfo) -> list[str]:
    """Return the fields that BM25 searches in an index unless it is told others: the text, and the title if analysed.

    A stock store's index has titles as keywords alone, which match as a whole or not at all: they are left out.

    :raises IndexContractError: If the index has no analysed text.
    """
    fields = [name for name in (CONTENT, f"{TITLE}.text", TITLE) if info.fields.get(name) in _TEXT]
    if not fields:
        raise IndexContractError(
            f"index {info.name!r} has no text in {CONTENT!r} to search by words; name others with lexical_fields",
            index=info.name,
        )
    return fields


def checked_fields(names: Sequence[str], info: IndexInfo) -> list[str]:
    """Return fields that were named, if BM25 can search them; each perhaps with a boost, or a pattern.

    :raises IndexContractError: If one is not analysed text of this index.
    """
    for name in names:
        field = name.partition("^")[0]
        if "*" not in field and info.fields.get(field) not in _TEXT:
            there = ", ".join(one for one, kind in info.fields.items() if kind in _TEXT) or "none"
            raise IndexContractError(
                f"lexical field {field!r} of index {info.name!r} is"
                f" {info.fields.get(field, 'not there')}; BM25 searches analysed text: {there}",
                index=info.name,
                field=field,
            )
    return list(names)


def searchable(text: str) -> str:
    """Return a query in the form that is sent.

    It is cut after 256 words, lone surrogates are replaced, and English stop words and question words left out, unless
    there is nothing else: they decide little and take long to look up (SciFact: nDCG@10 0.651 without stop words, 0.648
    with them). In capitals, as in NO (nitric oxide), WHO or vitamin A, they stay. Nothing else is taken out: the query
    is matched as text, so no character of it has a meaning to the server.

    :raises TypeError: If it is no string.
    :raises IndexContractError: If it is blank.
    """
    if not isinstance(text, str):
        raise TypeError(f"the query is a {type(text).__name__}; it must be a string")
    if not text.strip():
        raise IndexContractError("the query is empty; give some text to search for")
    for number, term in enumerate(_TERM.finditer(text), 1):
        if number > MAX_TERMS:
            logger.info("the query has %d characters; BM25 gets its first %d words", len(text), MAX_TERMS)
            text = text[: term.start()]
            break
    text = text.encode("utf-8", "replace").decode()
    return " ".join(word for word in text.split() if not _is_stop_word(word)) or text


def _is_stop_word(word: str) -> bool:
    word = word.strip(_AROUND)
    return bool(_STOP.fullmatch(word.lower() if len(word) > 1 and word.istitle() else word))


def lexical_clause(text: str, fields: Sequence[str]) -> dict[str, Any]:
    """Return a BM25 search as a clause of a query.

    The fields count as one text (BM25F), so that a word is as rare in the title as it is in the whole. On SciFact this
    gave nDCG@10 0.648, the sum of both fields' scores 0.613, the content alone 0.626 (analyzer ``standard``). A query
    without any word, such as ``"?"``, matches nothing.

    :param text: As :func:`searchable` gives it.
    :param fields: Fields of the same analyzer, each perhaps with a boost of at least 1: ``title.text^2``.
    """
    return {"combined_fields": {"query": text, "fields": list(fields)}}


def filtered(clause: Mapping[str, Any], filters: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a clause whose hits must match a filter too."""
    return {"bool": {"must": [dict(clause)], "filter": [dict(filters)]}} if filters else dict(clause)
