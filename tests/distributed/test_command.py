"""`es-ingest run --engine ray`, in a process of its own."""

import json
import signal
import time

import numpy as np
import psutil

_TEXT = "A note about patient {}, who takes aspirin for a headache."


def _write(path, count):
    with path.open("w") as file:
        for number in range(count):
            file.write(json.dumps({"id": f"n{number}", "text": _TEXT.format(number)}) + "\n")
    return path


def test_a_signal_drains_and_the_next_run_finishes(es_ingest, index, tmp_path, client):
    source = _write(tmp_path / "notes.jsonl", 6_000)
    arguments = ["run", str(source), "--index", index, "--model", "minilm", "--precision", "fp32", "--engine", "ray"]
    arguments += ["--json", "--metrics-file", str(tmp_path / "metrics.prom"), "--workers", "1"]
    process = es_ingest(*arguments)
    _wait_until(lambda: _count(client, index) > 0, process)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, err
    assert "SIGTERM: finishing" in err
    first = json.loads(out)
    assert first["interrupted"]
    assert 0 < first["records"] == first["chunks"] < 6_000
    assert first["tokens"] > 10 * first["records"]
    assert first["encode_seconds"] > 0

    arguments[arguments.index("ray")] = "local"
    _write(source, first["records"] + 100)
    out, err = es_ingest(*arguments[:-2]).communicate(timeout=120)
    second = json.loads(out)
    assert (second["unchanged"], second["records"]) == (first["records"], 100)
    assert _count(client, index) == first["records"] + 100


def test_ready_made_vectors_on_a_cluster_of_its_own(es_ingest, index, tmp_path, client):
    source = _write(tmp_path / "notes.jsonl", 700)
    vectors = np.random.default_rng(0).standard_normal((700, 8)).astype(np.float32)
    np.save(tmp_path / "vectors.npy", vectors)
    arguments = ["run", str(source), "--index", index, "--model", "theirs", "--vectors", str(tmp_path / "vectors.npy")]
    arguments += ["--normalise", "--engine", "ray", "--ray-address", "local", "--json"]
    process = es_ingest(*arguments, ES_API_KEY="c2VjcmV0OnNlY3JldA==")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    summary = json.loads(out)
    assert (summary["records"], summary["chunks"], summary["tokens"]) == (700, 700, 0)
    assert _count(client, index) == 700
    found = client.search(index=index, query={"ids": {"values": ["n5#0"]}}, source={"exclude_vectors": False})
    stored = found["hits"]["hits"][0]["_source"]["embedding"]
    assert np.allclose(stored, vectors[5] / np.linalg.norm(vectors[5]), atol=1e-6)
    assert not [line for line in err.splitlines() if "ray" in line.lower() and not line.startswith("Ray cluster:")], err
    assert not [one for one in psutil.Process().children(recursive=True) if one.ppid() == process.pid]


def test_options_that_do_not_go_together(es_ingest, tmp_path):
    source = _write(tmp_path / "notes.jsonl", 1)
    for arguments, message in {
        ("--workers", "2"): "go with --engine ray",
        ("--engine", "spark"): "there are local and ray",
        ("--engine", "ray", "--device", "cuda:1"): "is cpu or cuda",
    }.items():
        process = es_ingest("run", str(source), "--index", "notes", *arguments, COLUMNS="500")
        assert message in process.communicate(timeout=60)[1]
        assert process.returncode == 2


def test_no_cluster_at_the_address(es_ingest, tmp_path):
    source = _write(tmp_path / "notes.jsonl", 1)
    arguments = ["run", str(source), "--index", "notes", "--engine", "ray", "--ray-address", "ray://head:10001"]
    process = es_ingest(*arguments)
    assert "run es-ingest on a machine of the cluster" in process.communicate(timeout=60)[1]
    assert process.returncode == 9


def _count(client, index):
    client.options(ignore_status=404).indices.refresh(index=index)
    return client.options(ignore_status=404).count(index=index).body.get("count", 0)


def _wait_until(is_so, process):
    end = time.monotonic() + 120
    while not is_so():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.2)
