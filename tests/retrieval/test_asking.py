"""Requests of searches, answered in the server's place."""

from types import SimpleNamespace

import orjson
import pytest
from elastic_transport import ConnectionError as NoConnection
from elasticsearch import ApiError, NotFoundError

from medte_haystack.errors import IndexMissingError, SearchError
from medte_haystack.index import run as carry_out
from medte_haystack.retrieval import asking
from medte_haystack.retrieval.asking import Log, ask, looked_up

BUSY = {"status": 429, "error": {"type": "es_rejected_execution_exception", "reason": "queue is full"}}
BAD = {"status": 400, "error": {"root_cause": [{"type": "x", "reason": "no such field"}], "type": "y", "reason": "z"}}


def found(number):
    return {"took": 1, "_shards": {"failed": 0}, "hits": {"hits": [{"_id": str(number)}]}}


class Client:
    """Answers with what `answers` gives for the numbers in the bodies, one call after the other."""

    def __init__(self, *answers):
        self.answers, self.asked, self.paths = list(answers), [], []

    def options(self, *, max_retries):
        assert max_retries == 0
        return self

    def perform_request(self, method, path, *, headers, body):
        lines = [orjson.loads(line) for line in body.splitlines()]
        bodies = lines[1::2] if "_msearch" in path else lines
        self.asked.append([one["number"] for one in bodies])
        self.paths.append(path)
        answer = self.answers.pop(0) if self.answers else found
        if isinstance(answer, Exception):
            raise answer
        each = [answer(one["number"]) for one in bodies]
        return SimpleNamespace(body={"responses": each} if "_msearch" in path else each[0])


def run(client, count, log=None, **body):
    bodies = [{"number": number, **body} for number in range(count)]
    answers = carry_out(client, ask("articles/é", bodies, log), pause=lambda seconds: None)
    return [one["hits"]["hits"][0]["_id"] for one in answers]


def status(code):
    return ApiError("no", meta=SimpleNamespace(status=code), body={"error": {"type": "t", "reason": f"code {code}"}})


def test_one_search_goes_alone_and_wants_all_shards():
    client = Client()
    assert run(client, 1) == ["0"]
    assert client.paths == ["/articles%2F%C3%A9/_search?allow_partial_search_results=false"]


def test_many_go_together_in_bounded_requests_and_come_back_in_order(monkeypatch):
    client = Client()
    assert run(client, 150) == [str(number) for number in range(150)]
    assert [len(some) for some in client.asked] == [32, 32, 32, 32, 22]
    client = Client()
    run(client, 10, size=4000)
    assert [len(some) for some in client.asked] == [2, 2, 2, 2, 2]
    monkeypatch.setattr(asking, "MAX_BYTES", 100)
    client = Client()
    run(client, 9, text="x" * 20)
    assert [len(some) for some in client.asked] == [2, 2, 2, 2, 1]


def test_a_search_larger_than_the_bounds_goes_alone():
    client = Client()
    run(client, 2, size=100_000)
    assert client.asked == [[0], [1]]


@pytest.mark.parametrize("fault", [NoConnection("reset"), status(503), status(429)])
def test_what_passes_is_asked_once_more(fault):
    client = Client(fault)
    assert run(client, 3) == ["0", "1", "2"]
    assert client.asked == [[0, 1, 2], [0, 1, 2]]


@pytest.mark.parametrize("fault", [NoConnection("reset"), status(503)])
def test_what_does_not_pass_is_an_error_with_the_attempts(fault):
    with pytest.raises(SearchError, match=r"was not answered after 2 attempts: .*; is the server running") as caught:
        run(Client(fault, fault), 1)
    assert caught.value.attempts == 2


def test_a_refusal_is_not_repeated():
    client = Client(status(400))
    with pytest.raises(SearchError, match="the server refused a search of index 'articles/é': code 400"):
        run(client, 1)
    assert len(client.asked) == 1


def test_only_those_searches_are_repeated_that_the_server_was_too_busy_for():
    client = Client(lambda number: BUSY if number in (1, 3) else found(number))
    assert run(client, 5) == ["0", "1", "2", "3", "4"]
    assert client.asked == [[0, 1, 2, 3, 4], [1, 3]]


def test_a_failed_search_of_many_is_named():
    client = Client(lambda number: BAD if number == 2 else found(number))
    with pytest.raises(SearchError, match=r"1 queries .* failed \(attempt 1\): query 2: no such field") as caught:
        run(client, 5)
    assert caught.value.failures == {2: "no such field"}


def test_its_number_counts_through_all_requests():
    with pytest.raises(SearchError) as caught:
        run(Client(found, lambda number: BAD if number == 40 else found(number)), 100)
    assert list(caught.value.failures) == [40]


def test_a_query_of_several_searches_is_named_by_its_own_number():
    client = Client(lambda number: BAD if number == 5 else found(number))
    steps = ask("articles", [{"number": number} for number in range(6)], queries=[0, 0, 1, 1, 2, 2])
    with pytest.raises(SearchError, match=r"query 2: no such field") as caught:
        carry_out(client, steps)
    assert list(caught.value.failures) == [2]


def test_busy_twice_names_the_searches():
    with pytest.raises(SearchError, match=r"\(attempt 2\): query 0: queue is full"):
        run(Client(lambda number: BUSY, lambda number: BUSY), 2)


def test_only_those_are_named_that_were_not_answered():
    client = Client(lambda number: BUSY if number == 1 else found(number), status(503))
    with pytest.raises(SearchError, match="not answered after 2 attempts") as caught:
        run(client, 5)
    assert caught.value.failures == {1: "code 503"}


@pytest.mark.parametrize(
    ("answers", "code"),
    [
        ([status(400)], 400),
        ([status(503), status(429)], 429),
        ([NoConnection("reset"), NoConnection("reset")], None),
        ([lambda number: BAD], 400),
        ([lambda number: BUSY, lambda number: BUSY], 429),
    ],
)
def test_an_error_has_the_servers_status(answers, code):
    with pytest.raises(SearchError) as caught:
        run(Client(*answers), 2)
    assert caught.value.status == code


def test_an_index_that_is_gone():
    body = {"error": {"root_cause": [{"type": "index_not_found_exception", "reason": "no such index"}]}}
    with pytest.raises(IndexMissingError, match="is not there any more"):
        run(Client(NotFoundError("no", meta=SimpleNamespace(status=404), body=body)), 1)
    gone = {"status": 404, "error": {"type": "index_not_found_exception", "reason": "no such index"}}
    with pytest.raises(IndexMissingError, match="is not there any more"):
        run(Client(lambda number: gone), 2)


def test_credentials_that_may_not_search():
    body = {"error": {"type": "security_exception", "reason": "action is unauthorized"}}
    with pytest.raises(SearchError, match=r"is not allowed: action is unauthorized; .* privileges read"):
        run(Client(ApiError("no", meta=SimpleNamespace(status=403), body=body)), 1)


@pytest.mark.parametrize(
    ("fault", "code", "says"),
    [
        (status(403), 403, "refused a search of index 'articles': code 403"),
        (status(429), 429, "index 'articles' was not answered: code 429; is the server running and not overloaded"),
        (NoConnection("reset", errors=(NoConnection("reset"),)), None, "was not answered after 2 attempts"),
    ],
)
def test_what_is_looked_up_fails_as_a_search_does(fault, code, says):
    def steps():
        yield lambda client: client.fail()

    def fail():
        raise fault

    with pytest.raises(SearchError, match=says) as caught:
        carry_out(SimpleNamespace(fail=fail), looked_up("articles", steps()))
    assert caught.value.status == code


def test_the_log_has_each_search_without_its_vector_and_all_requests():
    log = Log()
    run(Client(status(503)), 2, log, query={"knn": {"query_vector": [0.5] * 8, "filter": [{"term": {"a": 1}}]}})
    assert log.requests == 2
    assert log.searches[1] == {
        "request": {
            "number": 1,
            "query": {"knn": {"query_vector": "<vector of 8 numbers>", "filter": [{"term": {"a": 1}}]}},
        },
        "took_ms": 1,
        "shards": {"failed": 0},
        "hits": 1,
    }
