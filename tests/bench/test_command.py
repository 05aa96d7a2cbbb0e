import json

import pytest

from bench.encode import query, shapes
from bench.encode.__main__ import main
from bench.encode.compare import Comparison, by_length, tables
from bench.encode.plot import draw
from bench.encode.query import one_query, query_table
from bench.encode.shapes import find_shapes, minilm_folder
from bench.encode.stream import stream_line, stream_memory
from bench.encode.texts import Counter
from bench.encode.ways import REFERENCE, WAYS, find_ways


@pytest.fixture
def comparison(fake):
    """Ours beside fake ways, one of which fails."""
    ways = [fake(REFERENCE), fake("st-onnx", fail="load"), WAYS["medte-fp32"]]
    return Comparison(ways, "cpu", rounds=2, ceiling=False, quiet=True)


def test_a_run_is_json_with_a_row_for_every_way(comparison, tiny, corpus):
    found = comparison.run(tiny, corpus.sets(["questions"], 3, Counter(tiny.folder, tiny.max_tokens)))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["shape"] == "tiny"
    assert found["dimensions"] == {"layers": 2, "hidden": 32, "intermediate": 64}
    (one,) = found["sets"]
    assert (one["name"], one["texts"]) == ("questions", 12)
    reference, failed, ours = one["rows"]
    assert reference["ratio"] == 1.0
    assert failed["not_run"].startswith("ImportError: No module named 'optimum'")
    assert ours["not_run"] is None
    assert len(ours["seconds"]) == 2
    assert ours["tokens_per_second"] > 0
    assert ours["peak_mb"] > 10
    assert ours["cosine_min"] is None  # the tiny model's weights are random
    assert "medte" in found["workers"]["medte-fp32"]["versions"]
    (shown,) = tables(found)
    assert shown.count("not run: ImportError") == 1


def test_speed_by_length_is_drawn_with_units(comparison, tiny, corpus, tmp_path):
    found = by_length(comparison, tiny, corpus, [8, 16, 512], tokens=64)  # the model takes 64 at most
    assert [one["name"] for one in found["sets"]] == ["8 tokens", "16 tokens"]
    draw(found, "tiny", tmp_path / "docs" / "plot.svg")
    drawn = (tmp_path / "docs" / "plot.svg").read_text()
    for text in ("length of a text (tokens)", "speed (tokens per second)", "medte fp32", "tiny"):
        assert text in drawn
    assert "fake st-onnx" not in drawn


def test_memory_of_a_stream_is_read_all_along(tiny, corpus):
    found = stream_memory(tiny, corpus, "cpu", 50, every=20)
    assert [done for done, _ in found["memory"]] == [0, 20, 40, 50]
    assert all(size > 10 for _, size in found["memory"])
    assert found["mb_at_end"] == found["memory"][-1][1]
    assert found["tokens"] > 50
    assert "50 texts" in stream_line(found)


def test_single_queries_are_timed_below_the_embedder_too(tiny, corpus, fake, monkeypatch):
    monkeypatch.setitem(query._LOADERS, "sentence-transformers", fake("theirs").loader)
    found = one_query(tiny, corpus, "cpu", 25, precision="fp32")
    assert found["not_run"] == {}
    assert {row["name"] for row in found["rows"]} == {
        "MedTETextEmbedder.run",
        "Encoder.encode_one",
        "bare forward pass",
        "fake encode",
    }
    assert all(row["repeats"] == 25 and 0 < row["p50_ms"] <= row["p99_ms"] for row in found["rows"])
    assert found["embedder_over_forward"] > 0
    assert "MedTETextEmbedder.run / bare forward pass" in query_table(found)


def test_texts_without_a_question_of_that_length_are_told(tiny, corpus):
    with pytest.raises(ValueError, match="no question of 900 tokens"):
        one_query(tiny, corpus, "cpu", 5, tokens=900)


def test_the_reference_always_runs_first():
    assert [way.name for way in find_ways(["medte-bf16", "haystack"], "cpu")] == [REFERENCE, "medte-bf16", "haystack"]
    on_gpu = {way.name for way in find_ways(None, "cuda")}
    assert "medte-fp8" in on_gpu
    assert not on_gpu & {"medte-int8", "st-onnx", "st-openvino", "medte-auto"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ways", "fasttext"], "unknown way 'fasttext'; the ways are st-fp32"),
        (["--sets", "poems"], "unknown set 'poems'"),
        (["--shapes", "gpt"], "unknown shape 'gpt'; the shapes are base, minilm"),
        (["--texts", "0"], "--texts: '0' is not a whole number of 1 or more"),
        (["--rounds", "-1"], "--rounds: '-1' is not"),
        (["--query", "many"], "--query: 'many' is not"),
        (["--stream", "0"], "--stream: '0' is not"),
        (["--lengths", "16,0"], "--lengths: '0' is not"),
        (["--shapes", "minilm", "--medquad", "/nowhere"], "/nowhere"),
    ],
)
def test_wrong_options_are_told_before_anything_runs(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_each_tokenizer_has_a_model_of_its_own(tmp_path, monkeypatch):
    made = []
    monkeypatch.setenv("MEDTE_CACHE", str(tmp_path))
    monkeypatch.setattr(shapes, "random_bert", lambda folder, source: made.append(folder) or minilm_folder())
    (tmp_path / "tokenizer.json").write_text("{}")
    for tokenizer in (None, tmp_path):
        find_shapes(["base"], tokenizer)
    assert len(set(made)) == 2
    assert {folder.parent for folder in made} == {tmp_path / "bench"}
    with pytest.raises(ValueError, match="nowhere holds no tokenizer"):
        find_shapes(["base"], tmp_path / "nowhere")


def test_help_says_what_is_always_run(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "sentence-transformers in float32, which is always run" in " ".join(capsys.readouterr().out.split())
