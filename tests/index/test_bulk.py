"""Bulk writing against answers made by hand; no server."""

import json
import logging
import socket
import threading
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from elastic_transport import ApiResponseMeta, HttpHeaders, NodeConfig, TransportError
from elasticsearch import ApiError, ConnectionTimeout, Elasticsearch
from elasticsearch import ConnectionError as UnreachableError

from medte_haystack.errors import BulkWriteError, IndexContractError
from medte_haystack.index import BulkResult, Failure, Pause, bulk, operation, run
from medte_haystack.index.bulk import AT_ONCE, Backoff
from medte_haystack.index.operations import Operation
from medte_haystack.index.steps import AtOnce

SECRET = "patient John Doe"


def operations(number, action="index"):
    return [operation(action, f"d{position}", {"content": "x" * 10}) for position in range(number)]


@dataclass
class Answer:
    """An answer whatever was asked."""

    body: Any


class Server:
    """Answers bulk requests: by `script`, one entry a request, then with success.

    An entry is an error to raise, an :class:`Answer`, or a dictionary of document id -> outcome that replaces success.
    """

    def __init__(self, *script):
        self.script = list(script)
        self.requests = []
        self.bodies = []
        self.pauses = []
        self.waves = []

    def options(self, **options):
        assert options == {"max_retries": 0, "request_timeout": 120}  # it is the conversation that repeats
        return self

    def bulk(self, *, index, operations, pipeline, filter_path):
        headers = [json.loads(line) for line in operations.splitlines() if b'"_id"' in line[:20]]
        actions = [(next(iter(header)), next(iter(header.values()))["_id"]) for header in headers]
        self.requests.append([name for _, name in actions])
        self.bodies.append(operations)
        entry = self.script.pop(0) if self.script else {}
        if isinstance(entry, Exception):
            raise entry
        if isinstance(entry, Answer):
            return entry
        made = {"index": (201, "created"), "create": (201, "created"), "update": (200, "updated")}
        items = []
        for action, name in actions:
            status, result = made.get(action, (200, "deleted"))
            items.append({action: entry.get(name, {"_id": name, "status": status, "result": result})})
        return {"errors": False, "items": items}

    def run(self, steps):
        """Carry out a conversation without sleeping."""
        answer = error = None
        while True:
            try:
                step = steps.throw(error) if error else steps.send(answer)
            except StopIteration as end:
                return end.value
            answer = error = None
            if isinstance(step, Pause):
                self.pauses.append(step.seconds)
                continue
            try:
                if isinstance(step, AtOnce):
                    self.waves.append(len(step.conversations))
                    answer = [self.run(one) for one in step.conversations]
                else:
                    answer = step(self)
            except (ApiError, TransportError, BulkWriteError) as failure:
                error = failure


def api_error(status, reason="x"):
    node = NodeConfig("http", "localhost", 9200)
    meta = ApiResponseMeta(status, "1.1", HttpHeaders(), 0.0, node)
    return ApiError(reason, meta, {"error": {"type": reason, "reason": reason}})


BUSY = {"status": 429, "error": {"type": "es_rejected_execution_exception", "reason": "queue full"}}
BLOCKED = {"status": 403, "error": {"type": "cluster_block_exception", "reason": "index [i] blocked"}}


def malformed(name):
    reason = f"failed to parse field [year] of type [long] in document with id '{name}'"
    error = {"type": "document_parsing_exception", "reason": f"{reason}. Preview of field's value: '{SECRET}'"}
    return {"_id": name, "status": 400, "error": error}


class TestBatches:
    def test_by_count(self):
        server = Server()
        result = server.run(bulk.write("i", operations(7), max_count=3))
        assert [len(request) for request in server.requests] == [3, 3, 1]
        assert result == BulkResult(created=7)

    def test_by_bytes(self):
        server = Server()
        one = operations(1)[0].size
        server.run(bulk.write("i", operations(5), max_bytes=2 * one))
        assert [len(request) for request in server.requests] == [2, 2, 1]
        assert max(len(body) for body in server.bodies) <= 2 * one + 4

    def test_what_is_too_large_by_itself_goes_alone(self):
        server = Server()
        large = operation("index", "large", {"content": "x" * 1000})
        server.run(bulk.write("i", [*operations(2), large, *operations(1)], max_bytes=300))
        assert server.requests == [["d0", "d1"], ["large"], ["d0"]]

    def test_a_few_go_at_the_same_time_but_never_two_about_one_document(self):
        names = [*"abcdefbbg"]
        server = Server()
        server.run(bulk.write("i", (operation("index", name, {}) for name in names), max_count=1))
        assert (AT_ONCE, server.waves) == (4, [4, 3, 2])  # abcd, efb, bg

    def test_nothing_to_write(self):
        server = Server()
        assert server.run(bulk.write("i", [])) == BulkResult()
        assert server.requests == []

    def test_operations_are_read_as_they_are_needed(self):
        pulled = iter(operations(100))
        next(bulk.write("i", pulled, max_count=2))
        assert len(list(pulled)) >= 100 - 2 * AT_ONCE - 4


def test_each_action_and_what_it_counts_as():
    server = Server(
        {"d1": {"_id": "d1", "status": 200, "result": "updated"}, "gone": {"status": 404, "result": "not_found"}}
    )
    todo = [
        *operations(2),
        operation("update", "u", {"doc": {"a": 1}}),
        operation("delete", "x"),
        operation("delete", "gone"),
    ]
    result = server.run(bulk.write("i", todo))
    assert (result.created, result.updated, result.deleted, result.failures) == (1, 2, 1, ())
    assert result.written == 4  # the one that was gone is neither
    assert server.bodies[0].splitlines()[4:6] == [b'{"update":{"_id":"u"}}', b'{"doc":{"a":1}}']
    assert server.bodies[0].splitlines()[6:] == [b'{"delete":{"_id":"x"}}', b'{"delete":{"_id":"gone"}}']


class TestRepeating:
    @pytest.mark.parametrize("status", [429, 502, 503, 504])
    def test_only_what_was_rejected_is_sent_again(self, status):
        server = Server({"d1": {**BUSY, "status": status}, "d3": BUSY}, {"d3": BUSY})
        result = server.run(bulk.write("i", operations(5)))
        assert server.requests == [["d0", "d1", "d2", "d3", "d4"], ["d1", "d3"], ["d3"]]
        assert result == BulkResult(created=5, retried=3)
        assert len(server.pauses) == 2

    def test_gives_up_after_so_many_tries_and_keeps_the_rest(self):
        server = Server(*[{"d0": BUSY}] * 3)
        result = server.run(bulk.write("i", operations(2), backoff=Backoff(tries=3)))
        assert result.created == 1
        assert result.failures == (Failure("d0", 429, "rejected", "rejected 3 times"),)
        assert len(server.requests) == 3

    @pytest.mark.parametrize(
        "error", [UnreachableError("reset"), ConnectionTimeout("late"), api_error(429), api_error(503), api_error(502)]
    )
    def test_a_lost_request_is_sent_again(self, error):
        server = Server(error, error)
        retried = 4 if isinstance(error, ApiError) else 0  # what is lost was not rejected
        assert server.run(bulk.write("i", operations(2))) == BulkResult(created=2, retried=retried)
        assert server.requests == [["d0", "d1"]] * 3

    def test_of_many_tries_few_warn(self, caplog, monkeypatch):
        monkeypatch.setattr(bulk, "_SELDOM", bulk._Seldom(3600))
        server = Server(*[UnreachableError("refused")] * 5)
        with caplog.at_level(logging.INFO):
            server.run(bulk.write("notes", operations(2)))
        first, *others = caplog.records
        assert first.getMessage() == "bulk request to notes failed (ConnectionError), try 1 of 9; it is sent again"
        assert (first.levelname, {one.levelname for one in others}, len(others)) == ("WARNING", {"INFO"}, 4)

    @pytest.mark.parametrize("error", [UnreachableError("reset"), ConnectionTimeout("late"), api_error(503)])
    def test_but_not_one_with_a_create(self, error):
        server = Server(error)
        with pytest.raises(BulkWriteError, match=r"failed \(try 1\).*3 documents of this request are not") as caught:
            server.run(bulk.write("i", [*operations(2), *operations(1, "create")]))
        assert len(server.requests) == 1
        assert (caught.value.index, caught.value.attempts) == ("i", 1)
        assert caught.value.unacknowledged == ["d0", "d1", "d0"]

    def test_a_create_that_was_turned_away_is_sent_again(self):
        server = Server(api_error(429))
        assert server.run(bulk.write("i", operations(2, "create"))).created == 2

    def test_gives_up_on_a_server_that_stays_away(self):
        server = Server(*[UnreachableError("refused")] * 4)
        with pytest.raises(BulkWriteError, match=r"\(try 4\)"):
            server.run(bulk.write("i", operations(2), backoff=Backoff(tries=4)))
        assert len(server.requests) == 4

    @pytest.mark.parametrize("status", [400, 401, 403, 404])
    def test_what_will_not_pass_is_not_repeated(self, status):
        server = Server(api_error(status, f"Preview of it: {SECRET}"))
        with pytest.raises(BulkWriteError) as caught:
            server.run(bulk.write("i", operations(2)))
        assert SECRET not in str(caught.value)
        assert len(server.requests) == 1

    @pytest.mark.parametrize("items", [0, 2, 4, None])
    def test_an_answer_about_another_number_of_operations_counts_as_lost(self, items):
        other = {} if items is None else {"items": [{"index": {"status": 201}}] * items}
        server = Server(Answer(other), Answer(None))
        assert server.run(bulk.write("i", operations(3))) == BulkResult(created=3)
        assert server.requests == [["d0", "d1", "d2"]] * 3
        said = f"the answer is about {items or 0} operations, not 3"
        with pytest.raises(BulkWriteError, match=said) as caught:
            Server(*[Answer(other)] * 2).run(bulk.write("i", operations(3), backoff=Backoff(tries=2)))
        assert (caught.value.attempts, caught.value.unacknowledged) == (2, ["d0", "d1", "d2"])

    @pytest.mark.parametrize("status", [401, 403])
    def test_credentials_that_may_not_write_end_it(self, status):
        server = Server(api_error(status, "security_exception"))
        with pytest.raises(BulkWriteError, match="writing to index 'i' is not allowed: security_exception; ") as caught:
            server.run(bulk.write("i", operations(2)))
        assert (caught.value.attempts, caught.value.unacknowledged) == (1, ["d0", "d1"])

    def test_so_do_ones_that_may_write_some_documents_only(self):
        error = {"type": "security_exception", "reason": "action [index] is unauthorized for user [u]"}
        server = Server({"d1": {"status": 403, "error": error}, "d2": BUSY})
        with pytest.raises(
            BulkWriteError, match=r"not allowed: action \[index\] is unauthorized for .* others; 2"
        ) as caught:
            server.run(bulk.write("i", operations(3)))
        assert (len(server.requests), caught.value.unacknowledged) == (1, ["d1", "d2"])

    def test_waits_double_up_to_the_longest(self):
        backoff = Backoff(first=1.0, longest=10.0)
        for attempt, most in enumerate([1.0, 2.0, 4.0, 8.0, 10.0, 10.0], 1):
            assert most / 2 <= backoff.seconds(attempt) <= most


class TestPatience:
    PATIENT = Backoff(tries=3, patient=True)

    def test_waits_for_an_index_that_is_blocked(self):
        server = Server({"d1": BLOCKED, "d2": BUSY}, {"d1": BLOCKED})
        assert server.run(bulk.write("i", operations(3), backoff=self.PATIENT)) == BulkResult(created=3, retried=3)
        assert server.requests == [["d0", "d1", "d2"], ["d1", "d2"], ["d1"]]

    def test_gives_up_the_request_rather_than_documents(self):
        server = Server(*[{"d1": BLOCKED, "d2": BUSY}] * 3)
        with pytest.raises(
            BulkWriteError, match=r"'i' takes no documents \(try 3\): index .* blocked; 2 documents"
        ) as e:
            server.run(bulk.write("i", operations(3), backoff=self.PATIENT))
        assert (e.value.index, e.value.attempts, e.value.unacknowledged) == ("i", 3, ["d1", "d2"])

    def test_does_not_wait_for_what_will_not_pass(self):
        server = Server({"d1": malformed("d1")})
        result = server.run(bulk.write("i", operations(2), backoff=self.PATIENT))
        assert (result.created, [one.id for one in result.failures]) == (1, ["d1"])

    def test_without_it_a_blocked_document_is_a_failure(self):
        result = Server({"d1": BLOCKED}).run(bulk.write("i", operations(2)))
        assert (result.created, [one.type for one in result.failures]) == (1, ["cluster_block_exception"])


class TestRejections:
    """Whoever sends is told that the server is too busy."""

    def heard(self, *script, number=3):
        heard, server = [], Server(*script)
        server.run(
            bulk.send("i", operations(number), backoff=Backoff(patient=True), on_rejection=lambda: heard.append(1))
        )
        return len(heard)

    @pytest.mark.parametrize(
        "sign",
        [{"d0": BUSY, "d1": BUSY}, {"d0": BLOCKED}, api_error(429), api_error(503)],
        ids=["429s", "block", "a", "b"],
    )
    def test_once_an_answer(self, sign):
        assert self.heard(sign, sign) == 2

    @pytest.mark.parametrize(
        "other",
        [{}, {"d0": malformed("d0")}, UnreachableError("cut"), api_error(413), Answer({})],
        ids=["fine", "bad", "cut", "413", "short"],
    )
    def test_of_nothing_else(self, other):
        assert self.heard(other) == 0

    def test_in_the_halves_too(self):
        assert self.heard(api_error(413), {"d0": BUSY}, {}, {"d1": BUSY}) == 2


class TestTooLarge:
    def test_a_request_is_halved(self):
        server = Server(api_error(413), api_error(413))
        assert server.run(bulk.write("i", operations(5))) == BulkResult(created=5)
        assert [len(request) for request in server.requests] == [5, 2, 1, 1, 3]
        assert server.pauses == []

    def test_a_single_document_is_a_failure_of_its_own(self):
        server = Server(api_error(413), api_error(413))
        result = server.run(bulk.write("i", operations(2)))
        assert result.created == 1
        (failure,) = result.failures
        assert (failure.id, failure.status, failure.type) == ("d0", 413, "too_large")
        assert "http.max_content_length" in failure.reason


class TestFailures:
    def test_are_reported_and_the_others_written(self):
        server = Server({"d1": malformed("d1")})
        result = server.run(bulk.write("i", operations(3)))
        assert result.created == 2
        assert result.failures == (
            Failure(
                "d1",
                400,
                "document_parsing_exception",
                "failed to parse field [year] of type [long] in document with id 'd1'",
            ),
        )

    @pytest.mark.parametrize(
        "reason",
        [
            f"bad vector. Preview of invalid vector: [{SECRET}\n...]",
            f"immense term in field=\"x\". The prefix of the first immense term is: '[{SECRET}]...', original message",
        ],
    )
    def test_never_hold_a_value(self, reason):
        server = Server({"d0": {"status": 400, "error": {"type": "t", "reason": reason}}})
        (failure,) = server.run(bulk.write("i", operations(1))).failures
        assert SECRET not in failure.reason
        assert failure.reason.startswith(("bad vector", "immense term"))

    def test_survive_a_repetition(self):
        server = Server({"d0": malformed("d0"), "d1": BUSY})
        result = server.run(bulk.write("i", operations(3)))
        assert (result.created, [one.id for one in result.failures], result.retried) == (2, ["d0"], 1)


class TestOperation:
    @pytest.mark.parametrize(
        "body", [{"content": f"{SECRET} \ud800"}, {1: 2}, {"big": 2**70}], ids=["surrogate", "key", "integer"]
    )
    def test_what_cannot_be_json(self, body):
        with pytest.raises(IndexContractError, match="'d' cannot be written as JSON") as caught:
            operation("index", "d", body)
        assert SECRET not in str(caught.value)

    @pytest.mark.parametrize("name", ["", "x" * 513, "\ud800"])
    def test_an_id_that_elasticsearch_does_not_take(self, name):
        with pytest.raises(IndexContractError, match="the id"):
            operation("index", name, {})

    def test_size_covers_the_lines(self):
        one = operation("create", "id-1", {"content": "ä" * 100})
        assert one.size >= len(b"\n".join(one.lines()))
        assert Operation("delete", "x").lines() == [b'{"delete":{"_id":"x"}}']


def test_the_pipeline_is_passed_on():
    seen = []
    client = SimpleNamespace(bulk=lambda **given: seen.append(given))
    client.options = lambda **_: client
    next(bulk.send("i", operations(1), pipeline="p"))(client)
    assert (seen[0]["index"], seen[0]["pipeline"]) == ("i", "p")


class Cutting:
    """A server on a socket of its own, which breaks the first answer off after so many bytes."""

    def __init__(self, items):
        body = json.dumps({"errors": False, "items": items}).encode()
        head = "HTTP/1.1 200 OK\r\nX-elastic-product: Elasticsearch\r\ncontent-type: application/json\r\n"
        self.answers = {
            "length": f"{head}content-length: {len(body)}\r\n\r\n".encode() + body,
            "chunked": f"{head}transfer-encoding: chunked\r\n\r\n{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n",
            "until the end": f"{head}connection: close\r\n\r\n".encode() + body,
        }
        self.replies = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self):
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(10)

    def _serve(self):
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as asked:
                length = next(int(line.split(b":")[1]) for line in asked if line.lower().startswith(b"content-length"))
                while asked.readline().strip():
                    pass
                asked.read(length)
                connection.sendall(self.replies.pop(0))


class TestAnswersThatBreakOff:
    @pytest.fixture
    def server(self):
        serving = Cutting([{"index": {"status": 201}}] * 2)
        yield serving
        serving.close()

    @pytest.mark.parametrize("kind", ["length", "chunked", "until the end"])
    def test_after_any_byte_are_asked_for_again(self, server, kind):
        whole = server.answers[kind]
        with Elasticsearch(server.url) as client:
            for cut in range(0, len(whole) - 7):  # the last ones may be the end of the chunks, which nobody waits for
                server.replies = [whole[:cut], whole]
                result = run(client, bulk.send("i", operations(2)), lambda seconds: None)
                assert (cut, result, server.replies) == (cut, BulkResult(created=2), [])
