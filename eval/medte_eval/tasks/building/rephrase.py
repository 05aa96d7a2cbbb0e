"""Texts made by a language model, through any of Haystack's chat generators.

Each reply is kept under a hash of what was asked and of the generator, so that no question is paid for twice.
"""

import hashlib
import inspect
import json
import logging
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, StringConstraints, ValidationError, create_model

from es_ingest.records import ReadError
from medte_eval.tasks.benchmark.task import Prompt

if TYPE_CHECKING:
    from haystack.components.generators.chat.types import ChatGenerator

logger = logging.getLogger(__name__)

_ATTEMPTS = 3  # at one document
_HOPELESS = 10  # documents in a row at which the generator itself failed
_LONGEST_WAIT = 30.0
_DEFAULTS = {"max_retries": 0, "timeout": 600.0}
"""Of generators that take these: calls are repeated and counted here alone, and a long reply takes minutes."""
_IRRELEVANT = re.compile("key|secret|token|timeout|retries|callback|http_client", re.IGNORECASE)  # to the replies
_FENCE = re.compile(r"\A```[a-z]*\s*(.*?)\s*```\Z", re.DOTALL)
_NotBlank = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class GeneratorError(ReadError):
    """The generator cannot be loaded, fails at every document, or may be called no more."""


class _UnusableReplyError(Exception):
    """A reply that is not what the prompt asked for."""


class Rephraser:
    """Asks a chat generator about documents, several at a time.

    :param generator: Haystack's component; its model, temperature (the benchmark's is 0.7) and output length (1,000
        tokens) are its own affair.
    :param identity: What of it decides its replies.
    :param cache: Folder of the replies.
    :param max_calls: Most calls of this object, repeated ones included; None for no limit.
    :param at_once: Calls under way at a time.
    :param pace: Scale of the pauses before a document is tried again.
    """

    def __init__(
        self,
        generator: "ChatGenerator",
        identity: Mapping[str, Any],
        cache: Path,
        *,
        max_calls: int | None = None,
        at_once: int = 4,
        pace: float = 1.0,
    ) -> None:
        self.calls = 0
        self._generator = generator
        self._identity = identity
        self._cache = cache
        self._max_calls = max_calls
        self._at_once = at_once
        self._pace = pace
        self._failed_in_a_row = 0
        self._given_up: GeneratorError | None = None
        self._lock = threading.Lock()

    def ask(self, prompt: Prompt, documents: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, str] | None]:
        """Ask about each document.

        :param documents: What the model is shown of each, JSON-able.
        :returns: In their order the replies by the prompt's keys ("text" for a plain one); None for a document at
            which every try failed.
        :raises GeneratorError: If the generator fails again and again, or the calls are spent.
        """
        shape = create_model("Reply", **dict.fromkeys(prompt.keys or ("text",), (_NotBlank, ...)))  # type: ignore[call-overload]
        with ThreadPoolExecutor(self._at_once) as pool:
            replies = pool.map(lambda document: self._one(prompt, shape, document), documents)
            for number, reply in enumerate(replies, start=1):
                if number % 500 == 0:
                    logger.info("%s: %d of %d documents, %d calls", prompt.name, number, len(documents), self.calls)
                yield reply

    def describe(self) -> dict[str, Any]:
        """Return what may be told of the generator: its type and model, and a hash of all that decides its replies."""
        told = {name: value for name, value in self._identity.items() if name in ("type", "model")}
        return {**told, "sha256": _sha256(json.dumps(self._identity, sort_keys=True, default=str))}

    def _one(self, prompt: Prompt, shape: type[BaseModel], document: Mapping[str, Any]) -> Mapping[str, str] | None:
        from tenacity import RetryError, Retrying, stop_after_attempt, wait_exponential

        question = f"{prompt.task}\n\n{json.dumps(document, ensure_ascii=False)}"
        path = self._place(prompt.system, question)
        kept = _parsed(path.read_text("utf-8"), shape) if path.exists() else None
        if kept is not None:
            return kept

        def once() -> Mapping[str, str]:
            text = self._call(prompt.system, question)
            reply = _parsed(text, shape)
            if reply is None:
                raise _UnusableReplyError
            _keep(path, text)
            return reply

        wait = wait_exponential(max=_LONGEST_WAIT)
        try:
            found = Retrying(
                stop=stop_after_attempt(_ATTEMPTS),
                wait=lambda state: self._pace * wait(state),
                retry=lambda state: state.outcome is not None and _worth_another_try(state.outcome.exception()),
            )(once)
        except RetryError as failed:
            self._note(failed.last_attempt.exception())
            return None
        self._note(None)
        return found

    def _call(self, system: str, question: str) -> str:
        from haystack.dataclasses import ChatMessage

        with self._lock:
            if self._given_up is not None:
                raise self._given_up
            if self._max_calls is not None and self.calls >= self._max_calls:
                raise GeneratorError(
                    "language model",
                    f"its {self._max_calls:,} calls are spent; what it answered is kept in {self._cache}, and the same"
                    " command goes on from there",
                )
            self.calls += 1
        replies = self._generator.run(messages=[ChatMessage.from_system(system), ChatMessage.from_user(question)])
        return replies["replies"][0].text or ""

    def _note(self, error: BaseException | None) -> None:
        """Count failures of the generator; its reply to one document may be unusable, but it must not always fail."""
        with self._lock:
            broken = error is not None and not isinstance(error, _UnusableReplyError)
            self._failed_in_a_row = self._failed_in_a_row + 1 if broken else 0
            if self._failed_in_a_row >= _HOPELESS and self._given_up is None:
                self._given_up = GeneratorError(
                    "language model",
                    f"failed at {_HOPELESS} documents in a row, at the last with {type(error).__name__}; check its"
                    " credentials, its address and its limits",
                )
        if self._given_up is not None:
            raise self._given_up

    def _place(self, system: str, question: str) -> Path:
        asked = json.dumps([self._identity, system, question], sort_keys=True, default=str)
        name = _sha256(asked)
        return self._cache / name[:2] / f"{name}.txt"


def load_generator(path: Path) -> "tuple[ChatGenerator, dict[str, Any]]":
    """Load a chat generator as Haystack loads a pipeline's component, under the same rules of what may be imported.

    Unless the file says otherwise it repeats no call by itself, which nobody would count, and waits ten minutes.

    :param path: YAML with its ``type`` and ``init_parameters``.
    :returns: The component, and what of it decides its replies.
    :raises GeneratorError: If it cannot be read, or is no chat generator.
    """
    from haystack import Pipeline
    from haystack.core.errors import DeserializationError, PipelineError
    from haystack.marshal import YamlMarshaller

    try:
        data = YamlMarshaller().unmarshal(path.read_bytes())
    except OSError as error:
        raise GeneratorError(str(path), f"cannot be read: {error.strerror}") from None
    except Exception as error:  # noqa: BLE001  PyYAML's own, which quote the file
        raise GeneratorError(str(path), f"is no YAML ({type(error).__name__})") from None
    if not isinstance(data, dict) or not isinstance(data.get("type"), str):
        raise GeneratorError(
            str(path),
            "is no serialised component; it needs type: haystack.components.generators.chat.OpenAIChatGenerator, say,"
            " and init_parameters",
        )
    parameters = data.get("init_parameters") or {}

    def made(given: Mapping[str, Any]) -> Any:
        components = {"generator": {**data, "init_parameters": given}}
        return Pipeline.from_dict({"components": components}).get_component("generator")

    try:
        generator = made(parameters)
        known = inspect.signature(type(generator).__init__).parameters
        if lacking := {name: value for name, value in _DEFAULTS.items() if name in known and name not in parameters}:
            generator = made({**parameters, **lacking})
    except (DeserializationError, PipelineError, ValueError, TypeError) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise GeneratorError(str(path), f"{data['type']} cannot be loaded: {reason}") from None
    if "messages" not in inspect.signature(generator.run).parameters:
        raise GeneratorError(str(path), f"{data['type']} is no chat generator: it takes no messages")
    if hasattr(generator, "warm_up"):
        generator.warm_up()
    deciding = {name: value for name, value in parameters.items() if not _IRRELEVANT.search(name)}
    return generator, {"type": data["type"], **deciding}


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _worth_another_try(error: BaseException | None) -> bool:
    return isinstance(error, Exception) and not isinstance(error, GeneratorError)


def _parsed(text: str, shape: type[BaseModel]) -> Mapping[str, str] | None:
    """Return a reply by its keys, None if it is not what was asked for."""
    text = text.strip()
    if set(shape.model_fields) == {"text"}:
        return {"text": text} if text else None
    fenced = _FENCE.match(text)
    try:
        found: dict[str, str] = shape.model_validate_json(fenced[1] if fenced else text).model_dump()
    except ValidationError:
        return None
    return found


def _keep(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{threading.get_ident()}")
    draft.write_text(text, "utf-8", errors="replace")
    draft.replace(path)
