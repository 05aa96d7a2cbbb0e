"""Our encoder's scores are those of mteb's own wrapper around sentence-transformers."""

from dataclasses import replace

import mteb
import pytest
from mteb.models.sentence_transformer_wrapper import SentenceTransformerEncoderWrapper
from sentence_transformers import SentenceTransformer

from medte_eval.run import evaluate
from medte_eval.systems.encoder import EncoderSystem
from medte_haystack.encoder import Encoder
from medte_haystack.encoder.files import locate

from .medquad_tasks import TASKS, records

PROMPTS = {"query": "Represent this question for searching: ", "document": "An answer: "}


@pytest.fixture
def theirs() -> SentenceTransformer:
    """A model of each test's own, for mteb's wrapper changes its prompts."""
    return SentenceTransformer(str(locate("minilm").folder), device="cpu")


def test_both_cut_texts_at_the_same_length(theirs: SentenceTransformer, encoder: Encoder) -> None:
    lengths = [len(theirs.tokenizer(one.text)["input_ids"]) for one in records()]

    assert theirs.max_seq_length == encoder.max_tokens
    assert sum(length > encoder.max_tokens for length in lengths) > 20
    assert sum(length < encoder.max_tokens for length in lengths) > 20


@pytest.mark.parametrize(
    ("kind", "prompts"), [*((kind, None) for kind in TASKS), ("retrieval", PROMPTS), ("classification", PROMPTS)]
)
def test_scores_are_those_of_mtebs_own_wrapper(
    kind: str, prompts: dict[str, str] | None, theirs: SentenceTransformer, encoder: Encoder
) -> None:
    wrapper = SentenceTransformerEncoderWrapper(theirs, model_prompts=prompts)
    given = prompts or {"query": "", "document": ""}
    spec = replace(encoder.spec, query_prefix=given["query"], passage_prefix=given["document"])
    ours = Encoder(replace(encoder.files, spec=spec), encoder.tokeniser, encoder.backend)

    outcome = evaluate(TASKS[kind](), EncoderSystem(ours))
    (expected,) = mteb.evaluate(wrapper, TASKS[kind](), cache=None, co2_tracker=False).task_results

    (scores,) = expected.scores["test"]
    assert outcome.scores[outcome.main_score] == pytest.approx(scores["main_score"], abs=0.002)
    assert 0.1 < scores["main_score"] < 0.99
    assert outcome.counts["documents"] > 0
