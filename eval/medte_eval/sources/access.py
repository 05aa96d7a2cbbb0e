"""How sources are reached: politely, again after a failure, once for each question, or from a local export instead."""

import functools
import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from es_ingest.records import ReadError
from medte_eval.sources.cache import Kept, keep, load, place_of, turn
from medte_eval.sources.errors import SourceError, TransientError

if TYPE_CHECKING:
    from tenacity import RetryCallState, Retrying

logger = logging.getLogger(__name__)

T = TypeVar("T")
CONTACT = "MEDTE_CONTACT"
_LONGEST_WAIT = 600.0  # seconds; a host that asks for more is left alone
_LONGEST_BACKOFF = 60.0
_ADVICE = {
    403: f"the host refuses this machine or client: set {CONTACT} to your e-mail address, ask again another day,",
    429: "the host wants fewer requests: run one build at a time, ask again later,",
}


@dataclass(frozen=True, slots=True)
class Host:
    """Where a source answers.

    :param source: The source's name in messages.
    :param url: Its base URL.
    :param variable: Environment variable that names another base URL: a mirror, or a test's server.
    :param interval: Seconds between two requests to it, of all processes of this machine that share the cache.
    :param credentials: Parameters that go with every request and are neither kept nor told.
    """

    source: str
    url: str
    variable: str
    interval: float
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)

    def request(self, path: str = "", **params: str | int) -> "Request":
        """Return a GET request of this host."""
        base = os.environ.get(self.variable) or self.url
        query = urlencode({name: str(value) for name, value in params.items()}, safe=",", quote_via=quote)
        address = base.rstrip("/") + path
        return Request(self, f"{address}?{query}" if query else address)


@dataclass(frozen=True, slots=True)
class Request:
    """A question to a host; its URL, which has no credentials, tells it from all others."""

    host: Host
    url: str


@dataclass(frozen=True, slots=True)
class _Answer(Generic[T]):
    """What was read of a reply's body, and the body."""

    value: T
    body: bytes


@dataclass(frozen=True)
class Access:
    """How the sources may be reached.

    What a host answered is kept for good, each reply under its URL and with its hash: a second run asks nothing that
    was answered before, and one that was killed goes on. Several processes may share the cache.

    :param cache: Folder of the replies; delete it to have them anew.
    :param offline: Answer from the cache alone.
    :param export: File or folder to read instead of asking a host; what it holds is said by each source.
    :param tries: Most requests for one reply.
    :param timeout: Seconds to wait for a host to go on answering.
    :param pace: Scale of the pauses between requests and before another try; 0 suits a mirror of one's own. What a
        host asks for in ``Retry-After`` is kept in any case.
    :param contact: E-mail address or URL that tells hosts who asks; the default is `MEDTE_CONTACT`.
    :raises ReadError: If that cannot be sent.
    """

    cache: Path
    offline: bool = False
    export: Path | None = None
    tries: int = 5
    timeout: float = 60.0
    pace: float = 1.0
    contact: str = field(default_factory=lambda: os.environ.get(CONTACT, "").strip())
    replies: dict[str, Kept] = field(default_factory=dict, repr=False, compare=False)
    """The replies used so far by URL, each without its body."""

    def __post_init__(self) -> None:
        if self.contact and not (self.contact.isascii() and self.contact.isprintable()):
            raise ReadError(CONTACT, "is no e-mail address or URL: it holds characters that no request may carry")

    def fetch(self, request: Request, read: Callable[[bytes], T]) -> T:
        """Return what is read of a reply: the kept one, or the host's, which is then kept.

        A reply that cannot be read is never kept.

        :param request: What to ask.
        :param read: Takes the reply's body. May raise `TransientError` for one that another try may mend.
        :raises SourceError: If the reply cannot be had or read.
        """
        path = place_of(self.cache, request.url)
        kept = load(path)
        if kept is None and self.offline:
            reason = f"not in the cache {self.cache}, and nothing is fetched offline; run once with the network"
            raise SourceError(request.host.source, request.url, reason)
        if kept is None:
            return self._ask(request, path, read)
        self.replies[request.url] = kept.without_body()
        try:
            return read(kept.body)
        except TransientError as error:
            reason = f"{error}; the reply is kept in {path}: delete that file to ask again"
            raise SourceError(request.host.source, request.url, reason) from None

    def snapshot(self) -> dict[str, str | int]:
        """Tell which replies were used: how many, when they came (UTC), and a hash over all of theirs."""
        if not self.replies:
            return {"replies": 0}
        dates = sorted(kept.fetched for kept in self.replies.values())
        hashes = json.dumps(sorted((url, kept.sha256) for url, kept in self.replies.items()))
        digest = hashlib.sha256(hashes.encode()).hexdigest()
        return {"replies": len(self.replies), "sha256": digest, "first": dates[0], "last": dates[-1]}

    def _ask(self, request: Request, path: Path, read: Callable[[bytes], T]) -> T:
        from tenacity import Retrying, retry_if_exception, stop_after_attempt

        host = request.host
        retrying = Retrying(
            stop=stop_after_attempt(self.tries),
            wait=self._wait,
            retry=retry_if_exception(_may_pass),
            before_sleep=functools.partial(_tell, request),
            reraise=True,
        )
        try:
            with turn(self.cache, urlsplit(request.url).netloc, host.interval * self.pace) as pause:
                if load(path) is None:  # unless another process asked meanwhile
                    answer: _Answer[T] = retrying(self._once, request, read, pause)
                    self.replies[request.url] = keep(path, request.url, answer.body).without_body()
                    return answer.value
        except TransientError as error:
            raise SourceError(host.source, request.url, self._gave_up(error, host, retrying)) from None
        except OSError as error:
            reason = f"the cache cannot be written: {error.strerror or error}; free space or name another folder"
            raise SourceError(host.source, str(self.cache), reason) from error
        return self.fetch(request, read)

    def _once(self, request: Request, read: Callable[[bytes], T], pause: Callable[[], None]) -> "_Answer[T]":
        from medte_eval.sources.http import ask

        pause()
        reply = ask(request, _agent(self.contact), self.timeout)
        try:
            return _Answer(read(reply.body), reply.body)
        except TransientError as error:
            raise TransientError(error.reason, reply.retry_after) from None

    def _wait(self, state: "RetryCallState") -> float:
        from tenacity import wait_exponential, wait_random

        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, TransientError) and error.retry_after is not None:
            return error.retry_after
        backoff = wait_exponential(max=_LONGEST_BACKOFF)(state)
        return self.pace * (backoff + wait_random(max=backoff / 2)(state))

    def _gave_up(self, error: TransientError, host: Host, retrying: "Retrying") -> str:
        tries = retrying.statistics["attempt_number"]
        tried = "at the only try" if tries == 1 else f"also at the last of {tries} tries"
        advice = _ADVICE.get(error.status or 0, "ask again later, check the network and its proxy,")
        if not _may_pass(error):
            advice = f"it asks to be left alone for {error.retry_after:.0f} s: ask again then,"
        return (
            f"{error}, {tried}; {advice} name a mirror in {host.variable}, or read a local export. What was fetched is"
            f" kept in {self.cache}, and the next run goes on from there"
        )


def _may_pass(error: BaseException) -> bool:
    """Tell whether another try is worth it, and the host does not ask to wait too long for it."""
    return isinstance(error, TransientError) and (error.retry_after or 0.0) <= _LONGEST_WAIT


def _tell(request: Request, state: "RetryCallState") -> None:
    error = state.outcome.exception() if state.outcome else None
    seconds = state.next_action.sleep if state.next_action else 0.0
    logger.info("%s: %s %s; trying again in %.1f s", request.host.source, request.url, error, seconds)


@functools.cache
def _agent(contact: str) -> str:
    """Return how requests name their sender."""
    if not contact:
        logger.info("the hosts are asked without an address; set %s to your e-mail address, as they wish", CONTACT)
    return f"medte-eval/{version('medte')} ({contact or 'no contact given'}) python-requests"
