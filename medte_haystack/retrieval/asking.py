"""Searches sent and answered: one alone, or many in as few requests as the bounds allow."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote
from weakref import WeakKeyDictionary

import orjson
from elastic_transport import TransportError
from elasticsearch import ApiError

from medte_haystack.errors import IndexMissingError, SearchError
from medte_haystack.index import Pause, Steps
from medte_haystack.index.outcome import BUSY
from medte_haystack.index.server_errors import NOT_ALLOWED, root_cause
from medte_haystack.index.steps import Request

MAX_SEARCHES = 32  # a request
MAX_BYTES = 4 * 1024 * 1024  # of a request
MAX_HITS = 10_000  # that a request may ask for in all, unless one search alone asks for more

_ATTEMPTS = 2
_WAIT = 0.25  # seconds before the second
_GONE = "index_not_found_exception"
_NAMED = 5  # failed queries that a message names; the exception carries all
_JSON = "application/vnd.elasticsearch+json; compatible-with=8"
_LINES = "application/vnd.elasticsearch+x-ndjson; compatible-with=8"

Answer = dict[str, Any]
Result = TypeVar("Result")


@dataclass(slots=True)
class Log:
    """What was asked and how the server fared, for who wants it explained.

    :param searches: One entry a search: ``request`` (its body, vectors elided), ``took_ms``, ``shards``, ``hits``.
    :param requests: Requests over the network, those that failed included.
    """

    searches: list[dict[str, Any]] = field(default_factory=list)
    requests: int = 0

    def add(self, body: Mapping[str, Any], answer: Answer) -> None:
        """Note a search and its answer."""
        self.searches.append(
            {
                "request": _elided(body),
                "took_ms": answer.get("took"),
                "shards": answer.get("_shards"),
                "hits": len(answer["hits"]["hits"]),
            }
        )


def ask(
    index: str,
    bodies: Sequence[Mapping[str, Any]],
    log: Log | None = None,
    *,
    queries: Sequence[int] | None = None,
    at_a_time: int = MAX_SEARCHES,
) -> Steps[list[Answer]]:
    """Send searches and return their answers, in order.

    What the server could not answer for now is sent once more; a connection that broke is opened anew.

    :param bodies: One a search. More than one are sent as multi-searches, bounded by count, bytes and hits.
    :param log: Takes what was sent and how long it took.
    :param queries: Number of the query that each search is for, to name it by; None counts the searches.
    :param at_a_time: Most searches of a request; fewer where each takes long, so that the client does not give up.
    :raises SearchError: If a search is refused, or not answered at the second attempt either; `failures` has the
        reason by the number of the query.
    :raises IndexMissingError: If the index is gone.
    """
    answers: list[Answer] = []
    names = range(len(bodies)) if queries is None else queries
    for lines in _parts(bodies, at_a_time):
        found = yield from _send(index, lines, names[len(answers) : len(answers) + len(lines)], log)
        answers += found
    if log is not None:
        for body, answer in zip(bodies, answers, strict=True):
            log.add(body, answer)
    return answers


def looked_up(index: str, steps: Steps[Result]) -> Steps[Result]:
    """Carry out what a search has to know beforehand, so that it fails as a search does.

    :raises SearchError: If the server refuses, or does not answer as often as the client asks.
    """
    try:
        return (yield from steps)
    except (ApiError, TransportError) as error:
        raise _refused(index, error, 1 + len(error.errors), ()) from error


def _parts(bodies: Sequence[Mapping[str, Any]], most: int) -> Iterator[list[bytes]]:
    """Group serialised searches into requests under the bounds."""
    part: list[bytes] = []
    size = hits = 0
    for body in bodies:
        line, wanted = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY), int(body.get("size", 10))
        if part and (len(part) == most or size + len(line) > MAX_BYTES or hits + wanted > MAX_HITS):
            yield part
            part, size, hits = [], 0, 0
        part.append(line)
        size, hits = size + len(line), hits + wanted
    if part:
        yield part


def _send(index: str, lines: Sequence[bytes], names: Sequence[int], log: Log | None) -> Steps[list[Answer]]:
    answers: dict[int, Answer] = {}
    waiting = list(range(len(lines)))
    for attempt in range(1, _ATTEMPTS + 1):
        last = attempt == _ATTEMPTS
        if log is not None:
            log.requests += 1
        try:
            answer = yield _request(index, [lines[number] for number in waiting])
        except (ApiError, TransportError) as error:
            if last or not _is_passing(error):
                raise _refused(index, error, attempt, [names[number] for number in waiting]) from error
            yield Pause(_WAIT)
            continue
        body = answer.body
        found = [body] if len(waiting) == 1 else body["responses"]
        failures = {}
        for number, one in zip(waiting, found, strict=True):
            if "error" in one:
                failures[number] = one
            else:
                answers[number] = one
        refused = {number: one for number, one in failures.items() if last or one.get("status") not in BUSY}
        if refused:
            raise _some_refused(index, {names[number]: one for number, one in refused.items()}, attempt)
        waiting = list(failures)
        if not waiting:
            break
        yield Pause(_WAIT)
    return [answers[number] for number in range(len(lines))]


def _request(index: str, lines: list[bytes]) -> Request:
    where, options = quote(index, safe=""), "include_named_queries_score=true&"
    if len(lines) == 1:
        named = options if b'"_name"' in lines[0] else ""
        path = f"/{where}/_search?{named}allow_partial_search_results=false"
        headers, body = {"accept": _JSON, "content-type": _JSON}, lines[0]
    else:
        named = options if any(b'"_name"' in line for line in lines) else ""
        path = f"/{where}/_msearch?{named}"
        headers = {"accept": _JSON, "content-type": _LINES}
        body = b"".join(b'{"allow_partial_search_results":false}\n%b\n' % line for line in lines)
    return lambda client: _without_retries(client).perform_request("POST", path, headers=headers, body=body)


_plain: "WeakKeyDictionary[Any, Any]" = WeakKeyDictionary()


def _without_retries(client: Any) -> Any:
    """Return the client as one that leaves repetitions to us; making it takes longer than a short search."""
    with suppress(KeyError):
        return _plain[client]
    _plain[client] = client.options(max_retries=0)
    return _plain[client]


def _is_passing(error: ApiError | TransportError) -> bool:
    return not isinstance(error, ApiError) or error.status_code in BUSY


def _refused(index: str, error: ApiError | TransportError, attempts: int, names: Sequence[int]) -> Exception:
    body = error.body if isinstance(error, ApiError) and isinstance(error.body, dict) else {}
    kind, reason = root_cause(body.get("error", str(error)))
    data = {
        "index": index,
        "attempts": attempts,
        "status": error.status_code if isinstance(error, ApiError) else None,
        "reason": reason,
        "failures": dict.fromkeys(names, reason),
    }
    if kind == _GONE:
        return _missing(index)
    if kind == NOT_ALLOWED:
        return SearchError(
            f"searching index {index!r} is not allowed: {reason}; have these credentials given the privileges read and"
            " view_index_metadata, or use others",
            **data,
        )
    if _is_passing(error):
        tries = f" after {attempts} attempts" if attempts > 1 else ""
        return SearchError(
            f"a search of index {index!r} was not answered{tries}: {reason or error}; is the server running and not"
            " overloaded?",
            **data,
        )
    return SearchError(f"the server refused a search of index {index!r}: {reason or error}", **data)


def _missing(index: str) -> IndexMissingError:
    return IndexMissingError(f"index {index!r} is not there any more; check the name", index=index)


def _some_refused(index: str, refused: Mapping[int, Any], attempts: int) -> Exception:
    causes = {number: root_cause(one["error"]) for number, one in refused.items()}
    if any(kind == _GONE for kind, _ in causes.values()):
        return _missing(index)
    failures = {number: reason for number, (_, reason) in causes.items()}
    first = "; ".join(f"query {number}: {reason}" for number, reason in list(failures.items())[:_NAMED])
    return SearchError(
        f"{len(failures)} queries of index {index!r} failed (attempt {attempts}): {first}",
        index=index,
        attempts=attempts,
        status=max(one["status"] for one in refused.values()),
        failures=failures,
    )


def _elided(body: Any) -> Any:
    """Return a copy of a body with the size of each query vector in its place."""
    if isinstance(body, Mapping):
        return {
            key: f"<vector of {len(value)} {'characters of base64' if isinstance(value, str) else 'numbers'}>"
            if key == "query_vector"
            else _elided(value)
            for key, value in body.items()
        }
    return [_elided(one) for one in body] if isinstance(body, list) else body
