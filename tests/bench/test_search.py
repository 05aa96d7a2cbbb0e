"""The measurements of searching, on a few passages."""

import json
import sys
from collections import Counter

import numpy as np
import pytest

from bench.search import latency, load, recall, scifact
from bench.search.__main__ import main
from bench.search.corpus import Corpus, Passages, encoded, medquad, with_distractors
from bench.search.indices import index_name, make_index
from bench.search.latency import Latency, latencies
from bench.search.ways import BESIDE, DENSE, DOCUMENTS, HYBRID, STOCK, WORDS, Retrievers
from es_ingest.tuning import exact
from medte_eval.sources.beir import BeirSet
from medte_haystack.errors import SearchError
from medte_haystack.index import Chunk


def unit(*shape):
    vectors = np.random.default_rng(3).standard_normal(shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def passages():
    chunks = [Chunk(f"d{number}", f"Passage {number}. It ends. Soon.", title=f"Title {number}") for number in range(40)]
    return Passages(chunks, unit(40, 64))


class FakeEncoder:
    """Gives vectors that depend on the text alone, and counts what it was asked."""

    weights_sha256, precision, dim = "w", "fp32", 8

    def __init__(self):
        self.asked = Counter()

    def encode(self, texts, kind):
        self.asked[kind] += len(texts)
        return np.stack([unit(8) * (1 + 0 * len(text)) for text in texts])


class TestCorpus:
    def test_distractors_follow_the_passages_and_are_always_the_same(self, passages):
        found, again = with_distractors(passages, 5000), with_distractors(passages, 5000)
        assert list(found.chunks[:40]) == list(passages.chunks)
        np.testing.assert_array_equal(found.vectors[:40], passages.vectors)
        np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-5)
        assert len({one.id for one in found.chunks}) == len(found.chunks) == 5040
        assert found.chunks[40].parent_id == found.chunks[41].parent_id != found.chunks[42].parent_id
        assert (again.key, again.chunks) == (found.key, found.chunks)
        assert passages.key != found.key

    def test_a_distractor_is_near_the_passages_whose_sentences_it_has(self, passages):
        found = with_distractors(passages, 200)
        near = (found.vectors[40:] @ passages.vectors.T).argmax(axis=1)
        texts = [one.content for one in found.chunks[40:]]
        assert np.mean([f"Passage {row}. " in text for row, text in zip(near, texts, strict=True)]) > 0.9

    def test_vectors_are_made_once(self, tmp_path, monkeypatch):
        monkeypatch.setenv("MEDTE_CACHE", str(tmp_path))
        encoder = FakeEncoder()
        first = encoded(encoder, ["a", "b"], "query")
        np.testing.assert_array_equal(encoded(encoder, ["a", "b"], "query"), first)
        assert encoder.asked == {"query": 2}
        encoded(encoder, ["a", "c"], "query")
        encoded(encoder, ["a", "b"], "passage")
        assert encoder.asked == {"query": 4, "passage": 2}

    def test_more_dimensions_change_no_cosine(self, tmp_path):
        from bench.search.corpus import _turn

        vectors = unit(20, 8)
        turned = vectors @ _turn(8, 24)
        assert turned.shape == (20, 24)
        np.testing.assert_allclose(turned @ turned.T, vectors @ vectors.T, atol=1e-6)
        with pytest.raises(ValueError, match="8 dimensions; they cannot be turned into 4"):
            medquad(None, FakeEncoder(), questions=1, distractors=0, dim=4)


class TestLatency:
    def test_every_way_answers_every_question_once_a_round(self):
        asked = {name: Counter() for name in "ab"}

        def way(name):
            def search(number):
                asked[name][number] += 1
                return []

            return search

        def lacking(number):
            raise SearchError("unknown retriever")

        found = latencies({"a": way("a"), "b": way("b"), "c": lacking}, 30, 2)
        for name in "ab":
            assert {asked[name][number] - (number < 20) for number in range(30)} == {2}  # 20 to warm up
            assert [len(one) for one in found[name].rounds] == [30, 30]
        rows = latency.rows(found, {"one": "a", "other": "b"})
        assert rows[2] == {"name": "c", "not_run": "unknown retriever"}
        assert "not run: unknown retriever" in latency.table(rows)
        assert "to other (rounds)" in latency.table(rows).splitlines()[0]
        assert rows[0]["ratios"]["one"] == (1.0, 1.0, 1.0)
        assert rows[1]["ratios"]["one"][0] == pytest.approx(1 / rows[0]["ratios"]["other"][0])
        assert json.loads(json.dumps(rows))[0]["searches"] == 60

    def test_figures_are_medians_of_rounds(self):
        one = Latency([[0.001, 0.002, 0.003], [0.002, 0.004, 0.009], [0.003, 0.003, 0.003]])
        assert one.p50 == pytest.approx(3.0)
        assert one.p99 == pytest.approx(8.6)
        assert one.ratio(Latency([[0.001], [0.002], [0.001]])) == pytest.approx((3.0, 2.0, 3.0))


class TestLoad:
    async def test_errors_and_missing_documents_are_counted(self):
        async def ask(number):
            if number == 3:
                raise SearchError("gone")
            return {"documents": [None] * (9 if number == 4 else 10)}

        ended = await load.ask_all(ask, 50, 10, at_once=7)
        assert ended == {"found": 40, "SearchError: gone": 5, "9 documents": 5}


class TestQuality:
    def test_ndcg_is_that_of_the_judged_queries(self):
        relevant = {"q1": {"a": 1}, "q2": {"b": 1, "c": 1}}
        data = BeirSet((), {"q1": "one", "q2": "two"}, relevant, 0)
        ideal = 1 + 1 / np.log2(3)
        assert scifact.ndcg(data, [["a", "x"], ["x", "b"]]) == pytest.approx((1 + (1 / np.log2(3)) / ideal) / 2)
        assert scifact.ndcg(data, [[], ["b", "c"]]) == pytest.approx(0.5)


@pytest.fixture(scope="module")
def found(connection, passages):
    """Retrievers over an index of 140 passages."""
    whole = with_distractors(passages, 100)
    with connection.client() as client:
        name, segments = make_index(client, whole, "int8")
        assert segments >= 1
        assert make_index(client, whole, "int8") == (name, segments)
        assert client.count(index=name)["count"] == 140
        questions = [f"passage {number}" for number in range(20)]
        retrievers = Retrievers.over(connection, name, Corpus(whole, questions, passages.vectors[:20], 64), 100)
        yield retrievers
        retrievers.close()
        client.indices.delete(index=name)


def test_an_index_of_another_mapping_has_another_name(passages, monkeypatch):
    name = index_name(passages, "int8")
    assert name == index_name(passages, "int8") != index_name(passages, "bbq")
    monkeypatch.setattr(sys.modules["medte_haystack.index.mapping"], "_GRAPH", {"m": 16, "ef_construction": 100})
    assert name != index_name(passages, "int8")


class TestOnAServer:
    def test_every_way_finds(self, found):
        ways = found.ways(10)
        for name in (STOCK, DENSE, DOCUMENTS, WORDS, f"{HYBRID}, min_max", f"{HYBRID}, weighted"):
            assert len(ways[name](5)) == 10
        assert ways[STOCK](5)[0].id == ways[DENSE](5)[0].id == "d5#0"
        rows = latency.rows(latencies(ways, 20, 1), BESIDE)
        assert [row["name"] for row in rows if "not_run" in row] == [
            f"{HYBRID}, server_rrf",
            f"{HYBRID}, server_linear",
        ]

    def test_throughput_and_endurance(self, found):
        rows = load.throughput(found, 80, 1)
        assert [round(row["per_second"] > 0) for row in rows] == [1, 1, 1, 1]
        assert "64 at once" in load.table(rows)
        assert load.soak(found, 200)["ended"] == {"found": 200}

    def test_recall(self, found):
        rows = recall.recall_rows(found, "int8", [10])
        assert {row["name"]: row["recall"] > 0.95 for row in rows} == {STOCK: True, DENSE: True}
        corpus = found.corpus
        _, cosines = exact.nearest(corpus.asked, corpus.passages.vectors, 10)
        none = recall.shares_found(corpus, [["d39#0"]] * 20, np.full(20, 2.0), 10)
        assert none == [0.0] * 20
        assert cosines.shape == (20, 10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--parts", "speed"], "unknown part 'speed'; the parts are latency, load, soak, recall, quality"),
        (["--medquad", "/nowhere"], "/nowhere"),
        (["--dim", "100"], "384 dimensions; they cannot be turned into 100"),
        (["--parts", "quality", "--scifact", "/nowhere"], "/nowhere"),
    ],
)
def test_wrong_options_are_told(arguments, message, capsys, connection, monkeypatch):
    with pytest.raises(SystemExit) as ended:
        main(["--es", connection.url, *arguments])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
