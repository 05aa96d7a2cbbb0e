import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from haystack.components.generators.chat import MockChatGenerator
from haystack.dataclasses import ChatMessage

from medte_eval.tasks.benchmark import BENCHMARK
from medte_eval.tasks.benchmark.prompts import LINKED_SENTENCES, QUESTION_AND_ANSWER, REWORDED_ANSWER
from medte_eval.tasks.building.folder import read_built
from medte_eval.tasks.building.rephrase import GeneratorError, Rephraser, load_generator
from tests.eval.tasks.conftest import Make

Answer = Callable[[list[ChatMessage]], str]
SENTENCES = json.dumps({"sentence1": "One.", "sentence2": " Two. "})


@pytest.fixture
def asking(tmp_path: Path) -> Callable[..., Rephraser]:
    def make(answer: Answer, identity: str = "mock", **options: Any) -> Rephraser:
        options = {"pace": 0, "at_once": 1, **options}
        return Rephraser(MockChatGenerator(response_fn=answer), {"type": identity}, tmp_path / "replies", **options)

    return make


def test_replies_come_in_the_order_of_the_documents(asking: Callable[..., Rephraser]) -> None:
    rephraser = asking(lambda messages: f"seen {messages[-1].text[-2:-1]}", at_once=3)

    found = list(rephraser.ask(REWORDED_ANSWER, [{"answer": number} for number in range(9)]))

    assert found == [{"text": f"seen {number}"} for number in range(9)]


def test_the_model_is_told_its_role_the_task_and_the_document(asking: Callable[..., Rephraser]) -> None:
    seen: list[list[ChatMessage]] = []

    def answer(messages: list[ChatMessage]) -> str:
        seen.append(messages)
        return SENTENCES

    (found,) = asking(answer).ask(LINKED_SENTENCES, [{"title": "Gicht ß"}])

    assert found == {"sentence1": "One.", "sentence2": "Two."}
    ((system, user),) = seen
    assert system.text == LINKED_SENTENCES.system
    assert user.text == LINKED_SENTENCES.task + '\n\n{"title": "Gicht ß"}'


def test_what_was_answered_is_never_asked_again(asking: Callable[..., Rephraser]) -> None:
    first, second = asking(lambda _: SENTENCES), asking(lambda _: "never asked")
    other = asking(lambda _: SENTENCES, identity="another model")
    documents = [{"title": "a"}, {"title": "b"}]

    assert [*first.ask(LINKED_SENTENCES, documents)] == [*second.ask(LINKED_SENTENCES, documents)]
    assert [*other.ask(LINKED_SENTENCES, documents[:1])]
    assert (first.calls, second.calls, other.calls) == (2, 0, 1)


@pytest.mark.parametrize(
    "reply",
    ["", "I cannot.", "[]", '{"sentence1": "One."}', '{"sentence1": "One.", "sentence2": " "}', '{"sentence1": 1}'],
)
def test_a_reply_that_is_not_as_asked_is_tried_again_and_then_dropped(
    reply: str, asking: Callable[..., Rephraser]
) -> None:
    stubborn = asking(lambda _: reply)
    assert list(stubborn.ask(LINKED_SENTENCES, [{"title": "a"}] * 2)) == [None, None]
    assert stubborn.calls == 6

    replies = iter([reply, SENTENCES])
    found = list(asking(lambda _: next(replies)).ask(LINKED_SENTENCES, [{"title": "b"}]))
    assert found == [{"sentence1": "One.", "sentence2": "Two."}]


def test_mark_up_around_the_json_is_taken_off(asking: Callable[..., Rephraser]) -> None:
    fenced = '```json\n{"question": "Why?", "answer": "So."}\n```'

    found = list(asking(lambda _: fenced).ask(QUESTION_AND_ANSWER, [{"title": "a"}]))

    assert found == [{"question": "Why?", "answer": "So."}]


def test_a_generator_that_always_fails_ends_it_without_quoting_documents(asking: Callable[..., Rephraser]) -> None:
    def fail(_: list[ChatMessage]) -> str:
        raise PermissionError("secret text")

    rephraser = asking(fail)

    with pytest.raises(GeneratorError, match="failed at 10 documents in a row, at the last with PermissionError") as e:
        list(rephraser.ask(REWORDED_ANSWER, [{"answer": number} for number in range(50)]))
    assert "secret text" not in str(e.value)
    assert rephraser.calls == 30


def test_some_failures_are_dropped(asking: Callable[..., Rephraser]) -> None:
    def moody(messages: list[ChatMessage]) -> str:
        if "bad" in (messages[-1].text or ""):
            raise TimeoutError
        return "fine"

    documents = [{"a": f"{'bad' if number % 2 else 'good'} {number}"} for number in range(24)]
    found = list(asking(moody).ask(REWORDED_ANSWER, documents))

    assert found == [{"text": "fine"}, None] * 12


def test_calls_are_capped_and_the_next_run_goes_on(asking: Callable[..., Rephraser]) -> None:
    documents = [{"answer": number} for number in range(5)]
    capped = asking(lambda _: "fine", max_calls=3)

    with pytest.raises(GeneratorError, match="its 3 calls are spent"):
        list(capped.ask(REWORDED_ANSWER, documents))
    next_one = asking(lambda _: "fine", max_calls=3)

    assert len(list(next_one.ask(REWORDED_ANSWER, documents))) == 5
    assert (capped.calls, next_one.calls) == (3, 2)


def test_what_the_model_could_not_do_is_counted_in_the_manifest(
    asking: Callable[..., Rephraser], builder: Make
) -> None:
    def answer(messages: list[ChatMessage]) -> str:
        text = messages[-1].text or ""
        return "?" if "brain" in text else json.dumps({"question": "Which organ?", "answer": "This."})

    built = builder(rephraser=asking(answer)).build(BENCHMARK["PubMedRetrieval"])
    tables, manifest = read_built(built.folder)

    assert manifest.name == "PubMedRetrieval"
    assert manifest.dropped == {"papers without abstract": 1, "no usable reply of the language model": 1}
    assert manifest.recipe["generator"]["type"] == "mock"
    assert set(tables["queries"]["text"]) == {"Which organ?"}
    assert any("GPT-4o" in one for one in manifest.differences)


def test_a_task_whose_calls_are_spent_is_not_built(
    asking: Callable[..., Rephraser], builder: Make, tmp_path: Path
) -> None:
    rephraser = asking(lambda _: SENTENCES, max_calls=2)

    with pytest.raises(GeneratorError, match="calls are spent"):
        builder(rephraser=rephraser).build(BENCHMARK["PubMedPair"])

    assert not (tmp_path / "tasks" / "PubMedPair").exists()


def test_no_note_goes_to_a_language_model(asking: Callable[..., Rephraser], builder: Make) -> None:
    rephraser = asking(lambda _: SENTENCES)

    builder(rephraser=rephraser).build(BENCHMARK["MimicComplaintDiagnosisPair"])

    assert rephraser.calls == 0


def test_no_address_of_the_generator_is_told(tmp_path: Path) -> None:
    identity = {"type": "mock", "model": "m", "api_base_url": "http://internal.example"}
    first = Rephraser(MockChatGenerator(), identity, tmp_path)
    second = Rephraser(MockChatGenerator(), {**identity, "api_base_url": "http://other.example"}, tmp_path)

    assert {name: value for name, value in first.describe().items() if name != "sha256"} == {
        "type": "mock",
        "model": "m",
    }
    assert first.describe()["sha256"] != second.describe()["sha256"]


def test_a_generator_is_loaded_as_haystack_does(tmp_path: Path) -> None:
    path = tmp_path / "generator.yaml"
    path.write_text(
        "type: haystack.components.generators.chat.openai.OpenAIChatGenerator\n"
        "init_parameters:\n  api_key: {type: env_var, env_vars: [PATH], strict: true}\n  model: gpt-4o\n"
        "  timeout: 20\n  generation_kwargs: {temperature: 0.7, max_completion_tokens: 1000}\n"
    )

    generator, identity = load_generator(path)

    assert type(generator).__name__ == "OpenAIChatGenerator"
    assert identity == {
        "type": "haystack.components.generators.chat.openai.OpenAIChatGenerator",
        "model": "gpt-4o",
        "generation_kwargs": {"temperature": 0.7, "max_completion_tokens": 1000},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read: No such file"),
        ("a: [", "is no YAML"),
        ("- a", "is no serialised component"),
        ("init_parameters: {}", "is no serialised component"),
        ("type: os.path.Missing", "os.path.Missing cannot be loaded"),
        ("type: haystack.components.generators.chat.nothing.Nothing", "cannot be loaded"),
        ("type: haystack.components.joiners.document_joiner.DocumentJoiner", "is no chat generator"),
        ("type: haystack.components.generators.chat.mock.MockChatGenerator\ninit_parameters: {no: 1}", "cannot be"),
    ],
)
def test_a_generator_that_cannot_be_loaded_is_one_message(text: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "generator.yaml"
    if text is not None:
        path.write_text(text)

    with pytest.raises(GeneratorError, match=message) as caught:
        load_generator(path)
    assert str(path) in str(caught.value)
