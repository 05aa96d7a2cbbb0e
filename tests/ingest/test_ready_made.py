"""Records that bring their vectors, on the real server: no model is loaded."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest

from es_ingest.corpus import Corpus
from es_ingest.ingest import Ingester
from es_ingest.records import Record
from es_ingest.search import Searcher
from medte_haystack.encoder import Encoder
from medte_haystack.model_identity import fingerprint_of_vectors


def unit_vectors(count, dim):
    vectors = np.random.default_rng(5).standard_normal((count, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def stored(client, index):
    body = {"size": 1000, "_source": {"exclude_vectors": False}}
    return {
        hit["_source"]["parent_id"]: hit["_source"] for hit in client.search(index=index, body=body)["hits"]["hits"]
    }


def test_vectors_beside_the_source_are_stored_as_they_are(es_ingest, client, index, tmp_path):
    vectors = unit_vectors(40, 768)
    np.save(tmp_path / "vectors.npy", vectors)
    rows = [json.dumps({"id": f"n{n}", "text": f"Note {n}.", "ward": n}) for n in range(40)]
    rows[7] = "broken"
    (tmp_path / "notes.jsonl").write_text("\n".join(rows))
    arguments = ["run", "notes.jsonl", "--index", index, "--vectors", "vectors.npy", "--model", "gte-base", "--json"]
    done = es_ingest(*arguments)  # gte-base is not on this machine
    assert done.returncode == 3, done.stderr
    summary = json.loads(done.stdout)
    assert {"read": 40, "written": 39, "malformed": 1, "refused": 0, "tokens": 0}.items() <= summary.items()
    assert summary["fingerprint"] | {"analyzer": None} == {
        "model": "thenlper/gte-base",
        "revision": None,
        "weights_sha256": None,
        "dim": 768,
        "pooling": "mean",
        "query_prefix": "",
        "passage_prefix": "",
        "max_tokens": None,
        "precision": None,
        "chunk_tokens": None,
        "chunk_overlap": None,
        "embedded_fields": None,
        "analyzer": None,
        "normalised": True,
        "contract": 1,
    }
    found = stored(client, index)
    assert found.keys() == {f"n{n}" for n in range(40)} - {"n7"}
    for name, document in found.items():
        np.testing.assert_array_equal(np.array(document["embedding"], np.float32), vectors[int(name[1:])])
    assert (found["n3"]["content"], found["n3"]["chunk_end"], found["n3"]["ward"]) == ("Note 3.", 7, 3)

    again = json.loads(es_ingest(*arguments).stdout)
    assert (again["unchanged"], again["written"]) == (39, 0)
    vectors[5] = -vectors[5]
    np.save(tmp_path / "vectors.npy", vectors)
    changed = json.loads(es_ingest(*arguments).stdout)
    assert (changed["unchanged"], changed["updated"]) == (38, 1)
    np.testing.assert_array_equal(np.array(stored(client, index)["n5"]["embedding"], np.float32), vectors[5])


def test_vectors_of_a_field_are_scaled_and_left_out_of_the_metadata(es_ingest, client, index, tmp_path):
    rows = ['{"id": "a", "text": "x", "v": [3, 4, 0]}', '{"id": "b", "text": "y", "v": [1, 2]}']
    (tmp_path / "notes.jsonl").write_text("\n".join(rows))
    options = ["--vector-field", "v", "--model", "some/other-model", "--quantisation", "flat"]
    refused = es_ingest("run", "notes.jsonl", "--index", index, *options)
    assert (refused.returncode, "--normalise scales all vectors" in refused.stderr) == (7, True), refused.stderr
    assert not client.indices.exists(index=index)

    done = es_ingest("run", "notes.jsonl", "--index", index, *options, "--normalise", "--json")
    assert done.returncode == 3, done.stderr
    assert "notes.jsonl:2: not a record: its vector has 2 dimensions where the first one has 3" in done.stderr
    (document,) = stored(client, index).values()
    assert document["embedding"] == pytest.approx([0.6, 0.8, 0.0])
    assert "v" not in document
    fingerprint = json.loads(done.stdout)["fingerprint"]
    assert (fingerprint["model"], fingerprint["pooling"], fingerprint["query_prefix"]) == (
        "some/other-model",
        None,
        None,
    )
    (letter,) = map(json.loads, Path(json.loads(done.stdout)["dead_letters"]).read_text().splitlines())
    assert (letter["record"]["id"], letter["record"]["meta"]) == ("b", {})
    assert np.frombuffer(base64.b64decode(letter["record"]["vector"]), "<f4").tolist() == [1.0, 2.0]
    letter["record"]["vector"] = [0, 1, 0]  # as one who mends it may write it
    (tmp_path / "dead.jsonl").write_text(json.dumps(letter))
    replayed = es_ingest("replay", "dead.jsonl", "--index", index, "--json")
    assert (replayed.returncode, json.loads(replayed.stdout)["records"]) == (0, 1), replayed.stderr
    (tmp_path / "notes.jsonl").write_text("\n".join([rows[0], rows[1].replace("[1, 2]", "[0, 7, 0]")]))
    after = es_ingest("run", "notes.jsonl", "--index", index, *options, "--normalise", "--json")
    assert json.loads(after.stdout)["unchanged"] == 2


def test_vectors_that_a_model_made_elsewhere_are_found_with_it(client, index, tmp_path):
    encoder = Encoder.load("minilm", device="cpu", precision="fp32")
    texts = ["Aspirin thins the blood.", "Insulin lowers the sugar in the blood."]
    np.save(tmp_path / "vectors.npy", encoder.encode(texts))
    (tmp_path / "notes.csv").write_text("id,text\n" + "".join(f'{n},"{text}"\n' for n, text in enumerate(texts)))
    corpus = Corpus.of([str(tmp_path / "notes.csv")], vectors=tmp_path / "vectors.npy")
    dim, records = corpus.begin()
    Ingester(client, index, None, vectors_by=fingerprint_of_vectors("minilm", dim)).run(records)
    (hit, _) = Searcher(client, index, encoder).search("sugar disease")
    assert hit.document_id == "1"

    encoded = Ingester(client, index, encoder).run(Corpus.of([str(tmp_path / "notes.csv")]).read())
    assert (encoded.updated, encoded.failed) == (2, 0), "the same model may add to it"


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (["--vectors", "vectors.npy"], 2, "ready-made vectors need --model"),
        (["--vector-field", "v"], 2, "ready-made vectors need --model"),
        (["--vectors", "vectors.npy", "--vector-field", "v", "--model", "medte"], 2, "are both given"),
        (["--vectors", "vectors.npy", "--model", "medte", "--chunk-tokens", "9"], 2, "stand for whole texts"),
        (["--vector-field", "v", "--meta-field", "v", "--model", "medte"], 2, "cannot be metadata"),
        (["--normalise", "--model", "minilm"], 2, "--normalise is for ready-made vectors"),
        (["--vectors", "vectors.npy", "--model", "minilm"], 4, "makes vectors of 384 dimensions, these have 3"),
        (["--vectors", "none.npy", "--model", "medte"], 7, "none.npy: cannot be opened"),
        (["--vectors", "notes.jsonl", "--model", "medte"], 7, "is not a .npy file"),
        (["--vectors", "short.npy", "--model", "x"], 7, "holds 1 vectors where the sources have 2 rows"),
    ],
)
def test_what_does_not_go_together_is_refused_before_an_index_is_made(
    es_ingest, client, index, tmp_path, options, status, said
):
    (tmp_path / "notes.jsonl").write_text('{"id": "a", "text": "x"}\n{"id": "b", "text": "y"}\n')
    np.save(tmp_path / "vectors.npy", unit_vectors(2, 3))
    np.save(tmp_path / "short.npy", unit_vectors(1, 3))
    done = es_ingest("run", "notes.jsonl", "--index", index, *options)
    assert done.returncode == status, done.stderr
    assert said in " ".join(done.stderr.replace("│", " ").split())
    assert not client.indices.exists(index=index)


def test_an_index_that_keeps_vectors_in_its_source_gets_numbers(client, index):
    """As one does that was made before 9.2; what is in the source comes back as it was sent."""
    vectors, made_by = unit_vectors(3, 384), fingerprint_of_vectors("minilm", 384)
    Ingester(client, index, None, vectors_by=made_by)
    made = client.indices.get_mapping(index=index)[index]["mappings"]
    client.indices.delete(index=index)
    client.indices.create(index=index, mappings=made, settings={"index.mapping.exclude_source_vectors": False})
    records = [Record(f"n{number}", "", "Note.", {}, "notes", vector) for number, vector in enumerate(vectors)]
    Ingester(client, index, None, vectors_by=made_by).run(records)
    found = stored(client, index)
    for number, vector in enumerate(vectors):
        np.testing.assert_array_equal(np.array(found[f"n{number}"]["embedding"], np.float32), vector)
