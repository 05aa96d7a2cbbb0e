"""Politeness, retries, the cache and offline use, on a host of no source in particular."""

import email.utils
import logging
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from es_ingest.records import ReadError
from medte_eval.sources import cache
from medte_eval.sources.access import Access, Host, Request
from medte_eval.sources.errors import SourceError, TransientError
from tests.eval.sources.server import Broken, Reply, Server

SECRET = "s3cr3t-key"


@pytest.fixture
def host(server: Server, monkeypatch: pytest.MonkeyPatch) -> Host:
    server.api = lambda path, query: f"answer to {path}".encode()
    monkeypatch.setenv("MEDTE_TEST_URL", server.url)
    return Host("Test", "https://test.invalid", "MEDTE_TEST_URL", 0.0, {"api_key": SECRET})


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that retries wait, which pass at once."""
    seconds: list[float] = []
    monkeypatch.setattr("tenacity.nap.time", SimpleNamespace(sleep=seconds.append))
    return seconds


def text(body: bytes) -> str:
    return body.decode()


class TestAsking:
    def test_a_reply_is_read_and_the_credentials_are_sent(self, server, access, host):
        assert access.fetch(host.request("/a", term="x y", page=2), text) == "answer to /a"
        assert server.asked == [("/a", {"term": "x y", "page": "2", "api_key": SECRET})]

    def test_the_base_url_is_the_environments_or_the_hosts_own(self, host, monkeypatch):
        monkeypatch.setenv("MEDTE_TEST_URL", "http://mirror.invalid/base/")
        assert host.request("/a").url == "http://mirror.invalid/base/a"
        monkeypatch.delenv("MEDTE_TEST_URL")
        assert host.request("/a", b="c d").url == "https://test.invalid/a?b=c%20d"

    def test_requests_say_who_asks(self, server, tmp_path, host):
        Access(tmp_path, pace=0, contact="me@example.org").fetch(host.request("/a"), text)
        assert server.headers[0]["User-Agent"].startswith("medte-eval/")
        assert "(me@example.org)" in server.headers[0]["User-Agent"]

    def test_a_contact_that_no_header_can_carry_is_refused(self, tmp_path, monkeypatch):
        monkeypatch.setenv("MEDTE_CONTACT", "me@example.org\nX-Evil: 1")
        with pytest.raises(ReadError, match="MEDTE_CONTACT: is no e-mail address"):
            Access(tmp_path)

    def test_an_address_that_is_none_is_told_at_once(self, server, access, host, monkeypatch):
        monkeypatch.setenv("MEDTE_TEST_URL", "nonsense")
        with pytest.raises(SourceError, match="MEDTE_TEST_URL"):
            access.fetch(host.request("/a"), text)


class TestFaults:
    @pytest.mark.parametrize(
        "fault", [Reply(403), Reply(429), Reply(500), Reply(502), Reply(503), Broken(), Broken(0)], ids=str
    )
    def test_a_failure_that_passes_is_tried_again(self, server, access, host, fault):
        server.faults = [fault, fault]
        assert access.fetch(host.request("/a"), text) == "answer to /a"
        assert len(server.asked) == 3

    @pytest.mark.parametrize(
        ("fault", "said"),
        [
            (Reply(403), "answered 403.*MEDTE_CONTACT"),
            (Reply(429), "answered 429.*fewer requests"),
            (Reply(503), "answered 503.*ask again later"),
            (Broken(), "broke off"),
            (Broken(0), "broke off"),
        ],
        ids=str,
    )
    def test_a_failure_that_stays_is_told_with_its_tries_and_what_to_do(self, server, access, host, fault, said):
        server.faults = [fault] * 3
        with pytest.raises(SourceError, match=said) as told:
            access.fetch(host.request("/a"), text)
        assert len(server.asked) == 3
        assert "3 tries" in str(told.value)
        assert f"Test: {server.url}/a: " in str(told.value)
        assert "MEDTE_TEST_URL" in str(told.value)
        assert "local export" in str(told.value)
        assert SECRET not in str(told.value)

    def test_a_host_that_is_not_there_is_told_without_the_key(self, access, host, monkeypatch, caplog):
        monkeypatch.setenv("MEDTE_TEST_URL", "http://127.0.0.1:1")
        with caplog.at_level(logging.INFO, "medte_eval"), pytest.raises(SourceError, match="refused") as told:
            access.fetch(host.request("/a"), text)
        assert SECRET not in str(told.value)
        assert "trying again" in caplog.text
        assert SECRET not in caplog.text

    def test_a_host_that_is_too_slow_is_given_up(self, server, access, host):
        server.held.clear()
        with pytest.raises(SourceError, match=r"did not answer within 0\.2 s, at the only try"):
            replace(access, timeout=0.2, tries=1).fetch(host.request("/a"), text)

    @pytest.mark.parametrize("status", [400, 401, 404, 410])
    def test_a_refusal_is_not_tried_again(self, server, access, host, status):
        server.faults = [Reply(status)]
        with pytest.raises(SourceError, match=f"answered {status}.*NCBI_API_KEY"):
            access.fetch(host.request("/a"), text)
        assert len(server.asked) == 1

    def test_retry_after_is_kept_whatever_the_pace(self, server, access, host, slept):
        date = email.utils.formatdate(time.time() + 300, usegmt=True)
        server.faults = [Reply(429, headers={"Retry-After": "7"}), Reply(503, headers={"Retry-After": date})]
        access.fetch(host.request("/a"), text)
        assert slept[0] == 7
        assert 200 < slept[1] <= 300

    def test_a_host_that_wants_to_be_left_alone_for_long_is(self, server, access, host, slept):
        server.faults = [Reply(429, headers={"Retry-After": "86400"})]
        with pytest.raises(SourceError, match="at the only try; it asks to be left alone for 86400 s"):
            access.fetch(host.request("/a"), text)
        assert slept == []
        assert len(server.asked) == 1

    def test_waits_grow_and_differ(self, server, access, host, slept):
        server.faults = [Reply(500)] * 5
        with pytest.raises(SourceError):
            replace(access, pace=1.0, tries=5).fetch(host.request("/a"), text)
        for number, seconds in enumerate(slept):
            assert 2**number <= seconds <= 1.5 * 2**number
        assert len(slept) == 4
        assert any(seconds != int(seconds) for seconds in slept)

    def test_a_reply_that_may_be_better_next_time_is_asked_for_again_and_not_kept(self, server, access, host, slept):
        replies = [Reply(body=b"busy", headers={"Retry-After": "3"}), Reply(body=b"busy")]
        server.faults = list(replies)

        def read(body: bytes) -> str:
            if body == b"busy":
                raise TransientError("answered busy")
            return body.decode()

        assert access.fetch(host.request("/a"), read) == "answer to /a"
        assert slept[0] == 3
        assert access.fetch(host.request("/a"), text) == "answer to /a"
        assert len(server.asked) == 3

    def test_a_reply_of_the_wrong_shape_is_not_kept(self, server, access, host):
        def refuse(body: bytes) -> str:
            raise SourceError("Test", "there", "wrong shape")

        with pytest.raises(SourceError, match="wrong shape"):
            access.fetch(host.request("/a"), refuse)
        assert access.fetch(host.request("/a"), text) == "answer to /a"
        assert len(server.asked) == 2

    def test_errors_pickle(self):
        error = pickle.loads(pickle.dumps(SourceError("Test", "http://x", "gone")))
        assert (str(error), error.source, error.place) == ("Test: http://x: gone", "Test", "http://x")
        assert pickle.loads(pickle.dumps(TransientError("busy", 3.0, 429))).retry_after == 3.0


class TestPoliteness:
    def test_requests_of_a_host_keep_their_distance(self, server, tmp_path, host, monkeypatch):
        slept: list[float] = []
        monkeypatch.setattr(cache, "time", SimpleNamespace(time=time.time, sleep=slept.append))
        polite = replace(host, interval=1000.0)
        for name in ("/a", "/b"):
            Access(tmp_path, pace=1.0).fetch(polite.request(name), text)
        assert len(slept) == 1
        assert 500 < slept[0] <= 1000

    def test_a_kept_reply_waits_for_nobody(self, server, tmp_path, host, monkeypatch):
        Access(tmp_path).fetch(host.request("/a"), text)
        monkeypatch.setattr(cache, "time", SimpleNamespace(time=time.time, sleep=pytest.fail))
        Access(tmp_path).fetch(replace(host, interval=1000.0).request("/a"), text)


class TestCache:
    def test_what_was_answered_is_not_asked_again(self, server, access, host):
        first = access.fetch(host.request("/a", q=1), text)
        again = Access(access.cache).fetch(replace(host, credentials={"api_key": "another"}).request("/a", q=1), text)
        assert first == again
        access.fetch(host.request("/a", q=2), text)
        assert len(server.asked) == 2

    def test_the_key_is_in_no_file(self, server, access, host):
        access.fetch(host.request("/a"), text)
        import gzip

        kept = [path for path in access.cache.rglob("*") if path.is_file()]
        assert any(path.suffix == ".gz" for path in kept)
        for path in kept:
            assert SECRET.encode() not in (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else b"")
            assert SECRET not in path.name

    @pytest.mark.parametrize("damage", [b"", b"nonsense", None], ids=["empty", "other", "cut"])
    def test_a_damaged_reply_is_told_of_and_fetched_anew(self, server, access, host, damage, caplog):
        access.fetch(host.request("/a"), text)
        path = cache.place_of(access.cache, host.request("/a").url)
        path.write_bytes(path.read_bytes()[:-9] if damage is None else damage)
        assert access.fetch(host.request("/a"), text) == "answer to /a"
        assert "damaged" in caplog.text
        assert len(server.asked) == 2

    def test_a_reply_whose_hash_is_wrong_is_not_used(self, server, access, host):
        import gzip

        access.fetch(host.request("/a"), text)
        path = cache.place_of(access.cache, host.request("/a").url)
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b"answer", b"ANSWER")))
        assert access.fetch(host.request("/a"), text) == "answer to /a"

    def test_offline_answers_from_the_cache_and_names_what_is_missing(self, server, access, host):
        access.fetch(host.request("/a"), text)
        offline = replace(access, offline=True)
        assert offline.fetch(host.request("/a"), text) == "answer to /a"
        with pytest.raises(SourceError, match=r"/b: not in the cache .*offline"):
            offline.fetch(host.request("/b"), text)
        assert len(server.asked) == 1

    def test_offline_writes_nothing(self, tmp_path, host):
        with pytest.raises(SourceError):
            Access(tmp_path / "none", offline=True).fetch(host.request("/a"), text)
        assert not (tmp_path / "none").exists()

    def test_a_cache_that_is_no_folder_is_told(self, server, tmp_path, host):
        (tmp_path / "file").touch()
        with pytest.raises(SourceError, match="the cache cannot be written"):
            Access(tmp_path / "file").fetch(host.request("/a"), text)

    def test_a_kept_reply_that_cannot_be_read_any_more_is_named(self, server, access, host):
        def refuse(body: bytes) -> str:
            raise TransientError("answered what is not JSON")

        access.fetch(host.request("/a"), text)
        with pytest.raises(SourceError, match=r"kept in .*\.gz: delete that file"):
            access.fetch(host.request("/a"), refuse)

    def test_the_snapshot_tells_one_set_of_replies_from_another(self, server, access, host):
        assert access.snapshot() == {"replies": 0}
        access.fetch(host.request("/a"), text)
        first = access.snapshot()
        again = Access(access.cache)
        again.fetch(host.request("/a"), text)
        assert again.snapshot() == first
        assert first["replies"] == 1
        again.fetch(host.request("/b"), text)
        assert again.snapshot()["sha256"] != first["sha256"]


PROGRAM = """
import sys
from pathlib import Path
from medte_eval.sources.access import Access, Host
host = Host("Test", sys.argv[2], "MEDTE_TEST_URL", 0.0)
for number in range(int(sys.argv[3])):
    Access(Path(sys.argv[1]), pace=0).fetch(host.request(f"/{number}"), len)
"""


def start(access: Access, server: Server, number: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(access.cache), server.url, str(number)])


def eventually(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)


class TestProcesses:
    def test_two_that_share_a_cache_ask_once_each(self, server, access, host):
        ran = [start(access, server, 20) for _ in range(2)]
        assert [process.wait(120) for process in ran] == [0, 0]
        assert sorted(path for path, _ in server.asked) == sorted(f"/{number}" for number in range(20))

    def test_one_that_was_killed_goes_on(self, server, access, host):
        def api(path: str, query: dict[str, str]) -> bytes:
            if path == "/2" and len(server.asked) == 3:
                server.held.clear()
                server.held.wait()
            return b"answer"

        server.api = api
        process = start(access, server, 5)
        eventually(lambda: len(server.asked) == 3)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        server.held.set()
        assert start(access, server, 5).wait(120) == 0
        assert [path for path, _ in server.asked] == ["/0", "/1", "/2", "/2", "/3", "/4"]
        assert not list(Path(access.cache).rglob("*.part"))


def test_a_request_is_known_by_its_url(host):
    assert host.request("/a", b=1) == Request(host, host.request("/a", b=1).url)
    assert SECRET not in repr(host.request("/a"))
