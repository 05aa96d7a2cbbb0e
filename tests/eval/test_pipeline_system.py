"""Haystack pipelines as systems."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from es_ingest.cluster import Connection
from medte_eval.report import system_name
from medte_eval.run import RefusedError, describe_system, evaluate
from medte_eval.systems import SystemOptions, UnknownSystemError, find_systems
from medte_eval.systems.corpus import CorpusIndex
from medte_eval.systems.system import System
from medte_eval.systems.texts import TextIndex
from medte_eval.tasks.beir import BeirRetrieval
from medte_haystack.encoder import Encoder

from .conftest import Given
from .small_tasks import Classification, Pairs

Opened = Callable[..., System]
COMPONENTS = "medte_haystack.components"
STORE = "haystack_integrations.document_stores.elasticsearch.document_store.ElasticsearchDocumentStore"
BM25 = "haystack_integrations.components.retrievers.elasticsearch.bm25_retriever.ElasticsearchBM25Retriever"


def store() -> dict[str, Any]:
    return {
        "type": f"{COMPONENTS}.document_store.MedTEDocumentStore",
        "init_parameters": {"hosts": "http://localhost:1", "index": "of-the-file", "model": "minilm"},
    }


@pytest.fixture
def dense_pipeline(tmp_path: Path) -> Path:
    return write(
        tmp_path / "dense.yaml",
        {
            "embedder": {
                "type": f"{COMPONENTS}.text_embedder.MedTETextEmbedder",
                "init_parameters": {"model": "minilm", "precision": "fp32"},
            },
            "retriever": {
                "type": f"{COMPONENTS}.embedding_retriever.MedTEEmbeddingRetriever",
                "init_parameters": {"model": "minilm", "top_k": 10, "document_store": store(), "collapse": True},
            },
        },
        [("embedder.embedding", "retriever.query_embedding")],
    )


@pytest.fixture
def hybrid_pipeline(tmp_path: Path) -> Path:
    """The query goes to two components."""
    return write(
        tmp_path / "hybrid.yaml",
        {
            "embedder": {
                "type": f"{COMPONENTS}.text_embedder.MedTETextEmbedder",
                "init_parameters": {"model": "minilm", "precision": "fp32"},
            },
            "retriever": {
                "type": f"{COMPONENTS}.hybrid_retriever.MedTEHybridRetriever",
                "init_parameters": {"model": "minilm", "top_k": 10, "document_store": store(), "collapse": True},
            },
        },
        [("embedder.embedding", "retriever.query_embedding")],
    )


@pytest.fixture
def bm25_pipeline(tmp_path: Path) -> Path:
    """Searches by words alone; its store is as bare as a file may have it."""
    retriever = {"type": BM25, "init_parameters": {"document_store": {"type": STORE}, "top_k": 10}}
    return write(tmp_path / "bm25.yaml", {"retriever": retriever}, [])


def write(path: Path, components: dict[str, Any], connections: list[tuple[str, str]]) -> Path:
    joined = [{"sender": sender, "receiver": receiver} for sender, receiver in connections]
    path.write_text(yaml.safe_dump({"components": components, "connections": joined}))
    return path


def test_a_pipeline_is_pointed_at_the_tasks_index(opened: Opened, beir: Path, dense_pipeline: Path) -> None:
    task = BeirRetrieval(beir, top_k=10)
    pipeline = evaluate(task, opened(f"pipeline:{dense_pipeline}"), latency_queries=3)
    dense = evaluate(task, opened("dense"))

    assert pipeline.scores == pytest.approx(dense.scores)
    for query, found in pipeline.items.run.items():
        assert found == pytest.approx(dense.items.run[query], abs=1e-5)
    assert pipeline.system["name"] == "pipeline:dense.yaml"
    assert len(pipeline.system["pipeline_sha256"]) == 64
    assert pipeline.latency is not None


def test_a_pipeline_gives_as_many_documents_as_its_file_says(opened: Opened, beir: Path, dense_pipeline: Path) -> None:
    told = "pipeline:dense.yaml gives at most 10 documents a query, as its file says; no score looks deeper"
    deep, even = (evaluate(BeirRetrieval(beir, top_k=k), opened(f"pipeline:{dense_pipeline}")) for k in (20, 10))

    assert (deep.details["top_k"], even.details["top_k"]) == (10, 10)
    assert deep.notes == (told,)
    assert not even.notes


def test_a_query_goes_to_all_inputs_for_it(opened: Opened, beir: Path, hybrid_pipeline: Path) -> None:
    task = BeirRetrieval(beir, top_k=10)
    pipeline, hybrid = evaluate(task, opened(f"pipeline:{hybrid_pipeline}")), evaluate(task, opened("hybrid"))

    assert pipeline.scores == pytest.approx(hybrid.scores)


def test_a_pipeline_by_words_alone_has_no_model(
    bm25_pipeline: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CorpusIndex, "analyzer", lambda _: "english")  # which the server would be asked for
    away, options = Connection("http://localhost:1", "url"), SystemOptions()
    (chosen,) = find_systems([f"pipeline:{bm25_pipeline}"], options)
    with away.client() as client:
        found = chosen.open(Given(options, away, encoder, CorpusIndex(client, encoder, options), TextIndex(client)))

        settings = describe_system(found, "9.5.3")

    assert (found.encoder, found.timed) == (None, "search")
    assert found.mteb_model_meta.name == "local/pipeline:bm25.yaml without a model"
    assert settings["index_options"] is None
    assert system_name({"system": settings}) == "pipeline:bm25.yaml"
    assert found.refusal("Classification") == (
        "pipeline:bm25.yaml makes no vectors of texts, which Classification needs"
    )


def test_a_pipeline_by_words_alone_is_scored(opened: Opened, beir: Path, bm25_pipeline: Path) -> None:
    outcome = evaluate(BeirRetrieval(beir, top_k=10), opened(f"pipeline:{bm25_pipeline}"))

    assert outcome.model == {"name": None}
    assert outcome.scores["ndcg_at_10"] > 0.3


def test_pairs_are_scored_by_filters(opened: Opened, dense_pipeline: Path) -> None:
    pipeline, dense = evaluate(Pairs(), opened(f"pipeline:{dense_pipeline}")), evaluate(Pairs(), opened("dense"))

    assert [row["similarity"] for row in pipeline.items.rows] == pytest.approx(
        [row["similarity"] for row in dense.items.rows], abs=1e-5
    )
    assert "its retrievers are filtered" in pipeline.notes[0]
    assert evaluate(Classification(), opened(f"pipeline:{dense_pipeline}")).scores["f1"] > 0


def test_a_pipelines_own_stores_are_left_alone(
    opened: Opened, beir: Path, dense_pipeline: Path, connection: Any, index: str, encoder: Any, client: Any
) -> None:
    from es_ingest.ingest import Ingester
    from es_ingest.readers import read

    Ingester(client, index, encoder).run(read([str(beir)], "beir"))
    text = dense_pipeline.read_text().replace("http://localhost:1", connection.url).replace("of-the-file", index)
    dense_pipeline.write_text(text)

    outcome = evaluate(BeirRetrieval(beir, top_k=10), opened(f"pipeline:{dense_pipeline}", own_stores=True))

    assert outcome.scores["ndcg_at_10"] > 0.5
    assert outcome.system["own_stores"] is True
    assert "index_options" not in outcome.system
    with pytest.raises(RefusedError, match="needs a retriever with a free input 'filters', and the task's index"):
        evaluate(Pairs(), opened(f"pipeline:{dense_pipeline}", own_stores=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: found["components"].pop("retriever"), "no Elasticsearch document store"),
        (lambda found: found["connections"].clear(), "'retriever' also wants query_embedding"),
        (lambda found: found.pop("components"), "it has no components"),
        (
            lambda found: found["components"]["embedder"].update(type="medte_haystack.components.nothing.Nothing"),
            "is no pipeline that can be evaluated",
        ),
        (
            lambda found: found["components"]["retriever"]["init_parameters"].update(typo=1),
            "is no pipeline that can be evaluated",
        ),
    ],
)
def test_what_is_no_such_pipeline_is_told(
    opened: Opened, dense_pipeline: Path, change: Callable[[Any], object], message: str
) -> None:
    found = yaml.safe_load(dense_pipeline.read_text())
    change(found)
    if "components" in found and "retriever" not in found["components"]:
        found["connections"] = []
    dense_pipeline.write_text(yaml.safe_dump(found))

    with pytest.raises(UnknownSystemError, match=message):
        opened(f"pipeline:{dense_pipeline}")


def test_a_file_that_cannot_be_read_is_told(opened: Opened, tmp_path: Path) -> None:
    with pytest.raises(UnknownSystemError, match="cannot be read: No such file"):
        opened(f"pipeline:{tmp_path / 'nothing.yaml'}")
    (tmp_path / "broken.yaml").write_text("components: [")
    with pytest.raises(UnknownSystemError, match="is no YAML"):
        opened(f"pipeline:{tmp_path / 'broken.yaml'}")
