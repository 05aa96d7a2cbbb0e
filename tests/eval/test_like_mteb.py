"""Our encoder's scores are those of mteb's own wrapper around sentence-transformers."""

from collections.abc import Callable
from pathlib import Path

import mteb
import pytest
from mteb.abstasks import AbsTask
from mteb.models.sentence_transformer_wrapper import SentenceTransformerEncoderWrapper
from sentence_transformers import SentenceTransformer

from medte_eval.run import evaluate
from medte_eval.systems.system import System
from medte_eval.tasks.beir import BeirRetrieval
from medte_haystack.encoder.files import locate

from .small_tasks import Classification, Clustering, Pairs


@pytest.fixture(scope="module")
def theirs() -> SentenceTransformerEncoderWrapper:
    return SentenceTransformerEncoderWrapper(SentenceTransformer(str(locate("minilm").folder), device="cpu"))


@pytest.mark.parametrize("kind", ["retrieval", "pairs", "classification", "clustering"])
def test_scores_are_those_of_mtebs_own_wrapper(
    kind: str, theirs: SentenceTransformerEncoderWrapper, opened: Callable[..., System], beir: Path
) -> None:
    makes: dict[str, Callable[[], AbsTask]] = {
        "retrieval": lambda: BeirRetrieval(beir),
        "pairs": Pairs,
        "classification": Classification,
        "clustering": Clustering,
    }
    task = makes[kind]()
    task.load_data()

    ours = evaluate(task, opened("encoder"))
    (expected,) = mteb.evaluate(theirs, makes[kind](), cache=None, co2_tracker=False).task_results

    name = task.metadata.main_score
    (scores,) = expected.scores["test"]
    assert ours.scores[name] == pytest.approx(scores[name], abs=0.002)
    assert 0 < scores[name] <= 1
    assert ours.counts["documents"] > 0
