"""Calls of a chat generator: kept, counted, capped, and tried again where that may help."""

import hashlib
import json
import logging
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medte_eval.tasks.building.rephrase import GeneratorError
from medte_haystack.errors import TrainingOutputError
from medte_train.synthesis.prompt import VERSION
from medte_train.synthesis.remote import Guard

if TYPE_CHECKING:
    from haystack.components.generators.chat.types import ChatGenerator
    from tenacity import RetryCallState

logger = logging.getLogger(__name__)

Message = tuple[str, str]
"""``system``, ``user`` or ``assistant``, and a text."""

_TRIES = 4  # of a call
_HOPELESS = 10  # calls in a row that failed at every try
_LONGEST_WAIT = 60.0
_CHARACTERS_A_TOKEN = 3  # where a generator does not tell; rather too many tokens than too few
_REPLY_TOKENS = ("max_tokens", "max_completion_tokens", "max_new_tokens")
_NEVER = frozenset({401, 402, 403, 404, 405})  # the next call would fare the same
_NOT_THIS = frozenset({400, 413, 422})  # this one would fare the same again, others may not


class SpentError(Exception):
    """The calls or tokens that may be spent are spent."""


class CallFailedError(Exception):
    """A call failed at every try, or the generator takes no such question.

    :param reason: In words, without texts.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(slots=True)
class Spent:
    """What was asked of a generator.

    :param calls: Calls, those that failed included.
    :param cached: Questions that had been answered before.
    :param prompt_tokens: Of the calls that were answered, as the generator tells; else estimated.
    :param completion_tokens: The same.
    """

    calls: int = 0
    cached: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def tokens(self) -> int:
        """All tokens."""
        return self.prompt_tokens + self.completion_tokens


class Asker:
    """Asks a chat generator, from several threads at once.

    :param generator: Haystack's component.
    :param identity: What of it decides its replies.
    :param cache: Folder of the replies, closed to other users; none is paid for twice.
    :param guard: Tells of connections that it refused.
    :param max_calls: Most calls of this object, repeated ones included; None for no limit.
    :param max_tokens: Most tokens, of questions and replies; no call is made that may exceed it, with a reply as long
        as the generator's settings allow, else as the longest so far. None for no limit.
    :param pace: Scale of the pauses before another try.
    """

    def __init__(
        self,
        generator: "ChatGenerator",
        identity: Mapping[str, Any],
        cache: Path,
        guard: Guard,
        *,
        max_calls: int | None = None,
        max_tokens: int | None = None,
        pace: float = 1.0,
    ) -> None:
        self.spent = Spent()
        self._generator = generator
        self._identity = identity
        self._cache = cache
        self._guard = guard
        self._max_calls, self._max_tokens = max_calls, max_tokens
        self._pace = pace
        self._reserved = 0
        self._reply_tokens = _longest_reply(identity)
        self._failed_in_a_row = 0
        self._given_up: GeneratorError | None = None
        self._lock = threading.Lock()

    def ask(self, messages: Sequence[Message]) -> str:
        """Return the reply to a conversation.

        :raises SpentError: If a call would be one too many.
        :raises CallFailedError: If every try failed.
        :raises GeneratorError: If other calls will fail, too.
        :raises TrainingOutputError: If the reply cannot be kept.
        """
        path = self._place(messages)
        try:
            if not path.exists():
                return _kept(path, self._try(messages))
            found = path.read_text("utf-8")
        except OSError as error:
            raise TrainingOutputError(
                f"replies cannot be kept in {self._cache}: {error.strerror or error}; free space, or name another"
                " folder with --cache",
                path=str(path),
            ) from error
        with self._lock:
            self.spent.cached += 1
        return found

    def _try(self, messages: Sequence[Message]) -> str:
        from tenacity import RetryError, Retrying, stop_after_attempt

        retrying = Retrying(
            stop=stop_after_attempt(_TRIES),
            wait=self._wait,
            retry=lambda state: state.outcome is not None and _may_pass(state.outcome.exception()),
        )
        try:
            reply: str = retrying(self._call, messages)
        except RetryError as failed:
            error = failed.last_attempt.exception()
            self._note_failure(error)
            raise CallFailedError(f"the generator failed {_TRIES} times, at last with {_name(error)}") from None
        with self._lock:
            self._failed_in_a_row = 0
        return reply

    def _call(self, messages: Sequence[Message]) -> str:
        from haystack.dataclasses import ChatMessage

        made = {
            "system": ChatMessage.from_system,
            "user": ChatMessage.from_user,
            "assistant": ChatMessage.from_assistant,
        }
        expected = sum(len(text) for _, text in messages) // _CHARACTERS_A_TOKEN
        reserved = self._reserve(expected)
        try:
            (reply, *_) = self._generator.run(messages=[made[role](text) for role, text in messages])["replies"]
        except Exception as error:
            with self._lock:
                self._reserved -= reserved
                if (_status(error) or 500) >= 500:  # it may have been answered, and the answer been lost
                    self.spent.prompt_tokens += expected
            self._raise_if_hopeless(error)
            raise
        text = reply.text or ""
        usage = reply.meta.get("usage") or {}
        replied = usage.get("completion_tokens") or len(text) // _CHARACTERS_A_TOKEN
        with self._lock:
            self._reserved -= reserved
            self.spent.prompt_tokens += usage.get("prompt_tokens") or expected
            self.spent.completion_tokens += replied
            self._reply_tokens = max(self._reply_tokens, replied)
        return text

    def _reserve(self, tokens: int) -> int:
        """Count a call before it is made.

        :param tokens: That the question will cost.
        :returns: Tokens that are set aside for it and its reply.
        """
        with self._lock:
            if self._given_up is not None:
                raise self._given_up
            if self._max_calls is not None and self.spent.calls >= self._max_calls:
                raise SpentError
            tokens += self._reply_tokens
            if self._max_tokens is not None and self.spent.tokens + self._reserved + tokens > self._max_tokens:
                raise SpentError
            self.spent.calls += 1
            self._reserved += tokens
        return tokens

    def _raise_if_hopeless(self, error: Exception) -> None:
        status = _status(error)
        if self._guard.refused:
            self._give_up(
                f"would send texts to {self._guard.refused[0]}, another machine; take one on this machine, or"
                " --allow-remote"
            )
        if status in _NEVER:
            self._give_up(f"answered {status}; check its credentials, its address and its model's name")
        if status in _NOT_THIS:
            raise CallFailedError(f"the generator refused the question ({status})") from None

    def _note_failure(self, error: BaseException | None) -> None:
        with self._lock:
            self._failed_in_a_row += 1
            hopeless = self._failed_in_a_row >= _HOPELESS
        if hopeless:
            self._give_up(
                f"failed at {_HOPELESS} notes in a row, at the last with {_name(error)}; check its credentials, its"
                " address and its limits"
            )

    def _give_up(self, reason: str) -> None:
        with self._lock:
            self._given_up = self._given_up or GeneratorError("language model", reason)
        raise self._given_up from None

    def _wait(self, state: "RetryCallState") -> float:
        """Return the seconds until the next try: what the generator asks for, or 1, 2, 4."""
        from tenacity import wait_exponential

        error = state.outcome.exception() if state.outcome else None
        response = getattr(error, "response", None)
        asked = _seconds(response.headers.get("retry-after")) if response is not None else None
        wait = wait_exponential(max=_LONGEST_WAIT)(state) if asked is None else min(asked, _LONGEST_WAIT)
        return self._pace * float(wait)

    def _place(self, messages: Sequence[Message]) -> Path:
        asked = json.dumps([self._identity, VERSION, list(messages)], sort_keys=True, default=str)
        name = hashlib.sha256(asked.encode()).hexdigest()
        return self._cache / name[:2] / f"{name}.txt"


def _longest_reply(identity: Mapping[str, Any]) -> int:
    """Return the most tokens of a reply by the generator's settings, 0 where they do not tell."""
    options = identity.get("generation_kwargs")
    told = [options.get(name) for name in _REPLY_TOKENS] if isinstance(options, Mapping) else []
    return max((one for one in told if isinstance(one, int)), default=0)


def _kept(path: Path, reply: str) -> str:
    """Keep a reply, and return it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
    draft.write_text(reply, "utf-8", errors="replace")
    draft.replace(path)
    return reply


def _may_pass(error: BaseException | None) -> bool:
    return isinstance(error, Exception) and not isinstance(error, GeneratorError | SpentError | CallFailedError)


def _status(error: BaseException) -> int | None:
    status = getattr(error, "status_code", None) or getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _name(error: BaseException | None) -> str:
    """Return what an error is called; its message may hold texts."""
    status = None if error is None else _status(error)
    return type(error).__name__ if status is None else f"status {status}"


def _seconds(retry_after: str | None) -> float | None:
    try:
        return None if retry_after is None else max(0.0, float(retry_after))
    except ValueError:  # a date
        return None
