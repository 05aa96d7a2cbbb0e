"""Pairs on the systems that search: their similarity is what the server says of the stored second text."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from datasets import DatasetDict

from es_ingest.cluster import Connection
from medte_eval.results import Outcome
from medte_eval.run import RefusedError, evaluate
from medte_eval.systems import SystemOptions, find_systems
from medte_eval.systems.corpus import CorpusIndex
from medte_eval.systems.system import System
from medte_eval.systems.texts import TextIndex
from medte_haystack.encoder import Encoder

from .conftest import Given
from .small_tasks import Classification, Clustering, Pairs

Opened = Callable[..., System]
STORE = "haystack_integrations.document_stores.elasticsearch.document_store.ElasticsearchDocumentStore"
BM25 = "haystack_integrations.components.retrievers.elasticsearch.bm25_retriever.ElasticsearchBM25Retriever"


def similarities(outcome: Outcome) -> list[float]:
    return [row["similarity"] for row in outcome.items.rows]


@pytest.fixture(scope="module")
def cosines(encoder: Encoder) -> list[float]:
    rows = Pairs().data()["test"]
    first, second = (encoder.encode(list(rows[name]), None) for name in ("sentence1", "sentence2"))
    return [float(one @ other) for one, other in zip(first, second, strict=True)]


def test_floats_in_the_index_give_the_cosines(opened: Opened, cosines: list[float]) -> None:
    dense = evaluate(Pairs(), opened("dense", quantisation="flat"), server_version="9.9")
    encoder, exact = evaluate(Pairs(), opened("encoder")), evaluate(Pairs(), opened("exact"))

    assert similarities(dense) == pytest.approx(cosines, abs=1e-6)
    assert similarities(exact) == pytest.approx(cosines, abs=1e-6)
    assert dense.scores == pytest.approx(encoder.scores, abs=1e-6)
    assert dense.counts["queries"] == 60
    assert dense.counts["documents"] == len(set(Pairs().data()["test"]["sentence2"])) == 31


def test_only_what_the_server_says_is_scored(opened: Opened) -> None:
    outcome = evaluate(Pairs(), opened("dense"))

    (scores,) = outcome.result.scores["test"]
    assert not [name for name in scores if name.startswith(("cosine", "dot", "manhattan", "euclidean", "max"))]
    assert scores["main_score"] == scores["similarity_f1"] == outcome.scores["similarity_f1"]


@pytest.mark.parametrize(
    ("quantisation", "oversample", "least", "most", "told"),
    [
        ("int8", 0.0, 1e-5, 0.02, "vectors as int8_hnsw, not compared again as floats"),
        ("int8", None, 0, 1e-6, "vectors as int8_hnsw, then compared again as floats (oversample 2)"),
        ("int8", 2.0, 0, 1e-6, "vectors as int8_hnsw, then compared again as floats (oversample 2)"),
        ("bbq", None, 0, 1e-6, "vectors as bbq_hnsw, then compared again as floats (oversample 3)"),
        ("bbq", 0.0, 1e-3, 0.2, "vectors as bbq_hnsw, not compared again as floats"),
    ],
)
def test_quantised_vectors_are_what_is_compared(
    opened: Opened,
    cosines: list[float],
    quantisation: str,
    oversample: float | None,
    least: float,
    most: float,
    told: str,
) -> None:
    outcome = evaluate(Pairs(), opened("dense", quantisation=quantisation, oversample=oversample))

    away = np.abs(np.array(similarities(outcome)) - cosines).mean()
    assert least <= away <= most
    assert outcome.notes == (f"pairs on dense: a kNN search of the first text for exactly the second; {told}",)


def test_a_text_counts_by_its_best_chunk(opened: Opened, encoder: Encoder) -> None:
    whole = evaluate(Pairs(), opened("dense", quantisation="flat"))
    chunks = evaluate(Pairs(), opened("dense", quantisation="flat", chunk_tokens=12))

    assert chunks.counts["chunks"] > chunks.counts["documents"] == whole.counts["documents"]
    assert similarities(chunks) != pytest.approx(similarities(whole), abs=1e-3)


def test_bm25_scores_a_pair_by_its_words(opened: Opened) -> None:
    outcome = evaluate(Pairs(), opened("bm25"))

    rows = Pairs().data()["test"]
    assert outcome.model == {"name": None}
    assert similarities(outcome)[0] > 0
    assert rows["sentence2"][1].startswith("The weather")  # only "the", a stop word, is in its question too
    assert similarities(outcome)[1] == 0
    assert outcome.scores["similarity_f1"] > 0.9  # the right answer names the disease


def test_hybrid_scores_single_pairs_by_weighted_sums_alone(opened: Opened, cosines: list[float]) -> None:
    with pytest.raises(RefusedError, match="take --fusion weighted"):
        evaluate(Pairs(), opened("hybrid"))

    dense_alone = evaluate(Pairs(), opened("hybrid", quantisation="flat", fusion="weighted", weights=(1.0, 0.0)))
    both = evaluate(Pairs(), opened("hybrid", quantisation="flat", fusion="weighted", weights=(250.0, 1.0)))
    bm25 = evaluate(Pairs(), opened("bm25", chunk_tokens=254))

    assert similarities(dense_alone) == pytest.approx([(1 + one) / 2 for one in cosines], abs=1e-6)
    expected = [250 * (1 + one) / 2 + words for one, words in zip(cosines, similarities(bm25), strict=True)]
    assert similarities(both) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("system", ["dense", "exact", "bm25", "hybrid", "pipeline"])
def test_pairs_are_refused_on_an_index_of_other_texts(system: str, encoder: Encoder, tmp_path: Path) -> None:
    """Whatever it holds: documents that happen to be called 0 and 1 are not the second texts of pairs 0 and 1."""
    away, options = Connection("http://localhost:1", "url"), SystemOptions(index="corpus")
    if system == "pipeline":
        system = f"pipeline:{tmp_path / 'bm25.yaml'}"
        store = {"type": STORE, "init_parameters": {"index": "i"}}
        retriever = {"type": BM25, "init_parameters": {"document_store": store}}
        (tmp_path / "bm25.yaml").write_text(yaml.safe_dump({"components": {"retriever": retriever}, "connections": []}))
    with away.client() as client:
        index, texts = CorpusIndex(client, encoder, options), TextIndex(client)
        (chosen,) = find_systems([system], options)
        opened = chosen.open(Given(options, away, encoder, index, texts))

    assert opened.refusal("Retrieval") is None
    with pytest.raises(RefusedError, match=r"PairClassification .*; leave --index corpus out"):
        evaluate(Pairs(), opened)


def test_a_blank_second_text_is_least_like_anything(opened: Opened) -> None:
    class WithBlank(Pairs):
        def data(self) -> DatasetDict:
            found: Any = super().data()
            rows = found["test"].to_dict()
            rows["sentence2"][0] = "  "
            return DatasetDict({"test": found["test"].from_dict(rows)})

    assert similarities(evaluate(WithBlank(), opened("dense")))[0] == -1.0
    assert similarities(evaluate(WithBlank(), opened("bm25")))[0] == 0.0


@pytest.mark.parametrize("task", [Classification, Clustering])
def test_other_texts_are_the_models_alone(opened: Opened, task: type[Classification | Clustering]) -> None:
    encoder, dense = evaluate(task(), opened("encoder")), evaluate(task(), opened("dense"))

    assert dense.scores == encoder.scores
    assert dense.notes == (f"{task.metadata.type} on dense is its model's alone; no index takes part",)
    with pytest.raises(RefusedError, match=f"bm25 makes no vectors of texts, which {task.metadata.type} needs"):
        evaluate(task(), opened("bm25"))


def test_prefixes_before_pairs_are_told(opened: Opened, encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = replace(encoder.spec, query_prefix="query: ", passage_prefix="passage: ")
    monkeypatch.setattr(encoder, "files", replace(encoder.files, spec=spec))
    alone, dense = evaluate(Pairs(), opened("encoder")), evaluate(Pairs(), opened("dense"))

    assert alone.notes == ("pairs on encoder: neither text has a prefix, though the model has some",)
    assert dense.notes[0].endswith("; first texts have the prefix 'query: ', second texts 'passage: '")


def test_items_tell_what_was_right(opened: Opened) -> None:
    pairs, texts = evaluate(Pairs(), opened("encoder")), evaluate(Classification(), opened("encoder"))

    assert [set(row) for row in pairs.items.rows] == [{"id", "label", "similarity"}] * 60
    assert np.mean([row["accuracy"] for row in texts.items.rows]) == pytest.approx(texts.scores["accuracy"])
    assert len(texts.items.rows) == 15
