"""`es-ingest tune` as a user types it."""

import json
import signal
import time

import pytest

from medte_haystack.encoder import Encoder

from .conftest import random_vectors, temporary

FEW = ("--oversampling", "0", "--oversampling", "3", "--num-candidates", "50", "--max-queries", "20")


@pytest.fixture
def finished(es_ingest):
    def call(*arguments):
        with es_ingest(*arguments) as process:
            out, err = process.communicate(timeout=180)
        return process.returncode, out, err

    return call


def test_table_picture_json_and_svg(client, index, fill, finished, tmp_path):
    fill(random_vectors(2000))
    status, out, err = finished("tune", index, *FEW, "--plot", "tuned.svg")
    assert status == 0, err
    assert "recommended: " in out
    assert "★ recommended" in out
    assert "\x1b" not in out
    assert "read 1,980 of 2,000 vectors" in err
    assert (tmp_path / "tuned.svg").read_text().startswith("<svg")

    status, out, err = finished("tune", index, *FEW, "--json", "--quiet", "--quantisation", "flat", "--recall", "1")
    assert (status, err) == (0, "")
    found = json.loads(out)
    (only,) = found["settings"]
    assert (only["quantisation"], only["recall"]) == ("flat", 1.0)
    assert found["recommended"]["knn"] == {"k": 10, "num_candidates": 100}
    assert found["today"] is None


def test_queries_are_encoded_by_the_model_of_the_index(index, fill, finished, tmp_path):
    encoder = Encoder.load("minilm", device="cpu", precision="fp32")
    vectors = encoder.encode([f"Note {number} is about the kidney." for number in range(60)])
    fill(vectors, model="sentence-transformers/all-MiniLM-L6-v2", quantisation="flat")
    (tmp_path / "queries.jsonl").write_text('{"text": "kidney stones"}\n{"text": "note 7"}\n')
    status, out, err = finished("tune", index, *FEW, "--queries", "queries.jsonl", "--json", "--quantisation", "flat")
    assert status == 0, err
    found = json.loads(out)
    assert (found["queries"], found["queries_from"], found["vectors"]) == (2, "file", 60)
    assert found["settings"][0]["recall"] == 1.0
    assert "kidney" not in out + err


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("moment", ["while it writes", "while it asks"])
def test_no_copy_stays_when_it_is_stopped(client, index, fill, es_ingest, number, status, moment):
    fill(random_vectors(3000))
    with es_ingest("tune", index, "--max-queries", "300") as process:
        if moment == "while it writes":
            until = time.monotonic() + 60
            while not temporary(client, index) and time.monotonic() < until:
                time.sleep(0.01)
        else:
            assert any(line.startswith("asking") for line in process.stderr)
        assert temporary(client, index)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == status, err
    assert "Traceback" not in err
    how = "interrupted" if number == signal.SIGINT else "terminated"
    assert f"{how}; the temporary indices are deleted" in err
    assert not temporary(client, index)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("--quantisation", "zip"), 2, "hnsw, int8"),
        (("--oversampling", "0.5"), 2, "0.5 is out of range"),
        (("--oversampling", "11"), 2, "11 is out of range"),
        (("--plot", "tuned.png"), 2, "end it in .svg"),
        (("--plot", "nowhere/tuned.svg"), 2, "no folder nowhere"),
        (("--recall", "1.5"), 2, "--recall"),
        (("--queries", "empty.txt"), 7, "empty.txt: holds no queries"),
        (("--queries", "missing.txt"), 7, "missing.txt: does not exist"),
        (("--top-k", "500"), 6, "top_k is 500, but 27 vectors are searched"),
        (("--queries", "one.txt", "--model", "minilm"), 6, "test/model"),
    ],
)
def test_bad_input_gets_a_message_and_a_status(index, fill, finished, tmp_path, arguments, status, said):
    fill(random_vectors(30))
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "one.txt").write_text("gout\n")
    found, out, err = finished("tune", index, *arguments)
    assert found == status, err
    assert said in err
    assert "Traceback" not in err
    assert not out


def test_indices_that_are_not_ours(client, index, finished):
    status, _, err = finished("tune", index)
    assert (status, f"index '{index}' is not there" in err) == (6, True)
    client.indices.create(index=index)
    status, _, err = finished("tune", index)
    assert (status, "was not made by medte" in err) == (6, True)
