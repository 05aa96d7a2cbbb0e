"""A source that breaks off does not become what an alias stands for."""

import gzip
import json


def test_an_alias_stays_where_it_is(es_ingest, alias, client, tmp_path):
    rows = [{"id": str(n), "text": f"Note {n} speaks of {n * n} things."} for n in range(3000)]
    packed = gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode())
    (tmp_path / "notes.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    arguments = ["run", "notes.jsonl.gz", "--alias", alias, "--model", "minilm", "--json", "--quiet"]
    broken = es_ingest(*arguments)
    summary = json.loads(broken.stdout)
    assert (broken.returncode, summary["gaps"]) == (6, 1), broken.stderr
    assert "a source broke off" in broken.stderr
    assert not client.indices.exists_alias(name=alias)
    (tmp_path / "notes.jsonl.gz").write_bytes(packed)
    mended = es_ingest(*arguments)
    again = json.loads(mended.stdout)
    assert (mended.returncode, again["unchanged"]) == (0, summary["records"]), mended.stderr
    assert client.count(index=alias)["count"] == 3000
