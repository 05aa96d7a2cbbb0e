"""Indices made anew from their own documents and vectors, on the real server."""

import json
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from es_ingest.indices import rebuild as module
from es_ingest.indices.builds import building, builds, holder
from es_ingest.indices.loading import begin_loading
from es_ingest.indices.rebuild import Shape, rebuild
from es_ingest.indices.switch import NotWholeError, roll_back
from es_ingest.indices.verify import verify
from es_ingest.stream.ledger import Ledger
from es_ingest.stream.locking import LedgerError
from es_ingest.stream.stopping import Stop
from es_ingest.stream.target import ledger_path, target_of
from medte_haystack.errors import IndexContractError, IndexMissingError
from medte_haystack.index import (
    QUANTISATIONS,
    IndexSpec,
    Server,
    create_index,
    describe_index,
    detect_server,
    knn_body,
    run,
)
from tests.indices.conftest import MADE_BY, records, wait_for

NO = "not looked at"


def vectors(found):
    return {name: np.asarray(body.pop("embedding"), dtype=np.float32).tobytes() for name, body in found.items()}


@pytest.mark.parametrize("quantisation", QUANTISATIONS)
def test_documents_and_vectors_are_the_same_to_the_bit(client, index, fill, stored, quantisation):
    fill(index, records(60, source="X"), quantisation="int4")
    done = rebuild(client, index, Shape(quantisation=quantisation))
    assert (done.copied, done.documents, done.refused, done.interrupted) == (60, 60, 0, False)
    assert done.quantisation == run(client, describe_index(done.index)).quantisation == quantisation
    assert done.verification.holds
    old, new = stored(index), stored(done.index)
    assert vectors(old) == vectors(new)
    assert old == new
    body = knn_body(next(records(1)).vector, top_k=1, num_candidates=60)
    assert client.search(index=done.index, body=body)["hits"]["hits"][0]["_id"] == "r0#0"
    assert client.indices.exists(index=index)


def test_by_json_where_the_server_knows_no_base64(client, index, fill, stored, monkeypatch):
    fill(index, records(20))
    monkeypatch.setattr(Server, "base64_vectors", False)
    monkeypatch.setattr(Server, "base64_doc_values", False)
    done = rebuild(client, index)
    old, new = stored(index), stored(done.index)
    assert vectors(old) == vectors(new)
    assert old == new


def test_vectors_in_source_are_numbers_or_kept_apart(client, index, fill, stored):
    """Older servers keep them in `_source`, as they were sent."""
    if not run(client, detect_server()).gives_vectors_on_request:
        pytest.skip("this server keeps all of them in _source")
    shape = IndexSpec(MADE_BY, "int8", replicas=0, more_settings={"index.mapping.exclude_source_vectors": False})
    run(client, create_index(index, shape, run(client, detect_server())))
    fill(index, records(20))
    found = client.search(index=index, size=20)["hits"]["hits"]
    assert all(isinstance(hit["_source"]["embedding"], list) for hit in found)
    done = rebuild(client, index)
    assert not any("embedding" in hit["_source"] for hit in client.search(index=done.index)["hits"]["hits"])
    assert vectors(stored(done.index)) == vectors(stored(index))


def test_what_is_not_named_stays_as_it_is(client, index, fill):
    late = list(records(3, start=100, number="a word"))
    fill(index, [*records(20), *late], quantisation="flat", shards=2)
    client.indices.put_settings(
        index=index, settings={"index.refresh_interval": "7s", "index.mapping.total_fields.limit": 1234}
    )
    done = rebuild(client, index, to=f"{index}-new")
    assert done.index == f"{index}-new"
    old, new = (client.indices.get(index=name, flat_settings=True)[name] for name in (index, done.index))
    assert new["mappings"]["properties"] == old["mappings"]["properties"]
    assert new["mappings"]["properties"]["number"]["type"] == "long", "though a word came too"
    kept = ("number_of_shards", "number_of_replicas", "refresh_interval", "mapping.total_fields.limit")
    assert [new["settings"][f"index.{name}"] for name in kept] == ["2", "0", "7s", "1234"]
    assert new["mappings"]["_meta"]["medte"] == old["mappings"]["_meta"]["medte"]
    assert "medte_loading" not in new["mappings"]["_meta"]


def test_analyzer_shards_and_replicas(client, index, fill):
    fill(index, records(20))
    done = rebuild(client, index, Shape(analyzer="whitespace", shards=3, replicas=1))
    found = client.indices.get(index=done.index, flat_settings=True)[done.index]
    assert found["mappings"]["properties"]["content"]["analyzer"] == "whitespace"
    assert found["mappings"]["properties"]["title"]["fields"]["text"]["analyzer"] == "whitespace"
    assert run(client, describe_index(done.index)).fingerprint == replace(MADE_BY, analyzer="whitespace")
    assert found["settings"]["index.number_of_shards"] == "3"
    assert found["settings"]["index.number_of_replicas"] == "1"
    with pytest.raises(IndexContractError, match=r"analyzer \[klingon\]"):
        rebuild(client, index, Shape(analyzer="klingon"))
    with pytest.raises(IndexContractError, match="quantisation 'zip' is unknown"):
        rebuild(client, index, Shape(quantisation="zip"))


def test_the_ledger_is_taken_over(client, index, fill):
    fill(index, records(30), job="notes")
    done = rebuild(client, index)
    assert done.verification.ledger == str(ledger_path(target_of(client, done.index)))
    assert Path(done.verification.ledger).stat().st_mode & 0o777 == 0o600
    again = fill(done.index, [*records(30), *records(1, start=99)], job="notes")
    assert (again.unchanged, again.records) == (30, 1)
    assert fill(index, records(31), job="notes").unchanged == 30, "the old one's is as it was"


def test_without_a_ledger_here(client, index, fill):
    fill(index, records(30))
    ledger_path(target_of(client, index)).unlink()
    done = rebuild(client, index)
    assert (done.copied, done.verification.ledger) == (30, None)


def test_a_record_that_went_while_another_came_is_found(client, index, fill, monkeypatch):
    fill(index, records(30))
    copy = module._Rebuilding.copy

    def changed_after(self, stop):
        copy(self, stop)
        client.delete(index=index, id="r7#0")
        fill(index, records(1, start=99))

    monkeypatch.setattr(module._Rebuilding, "copy", changed_after)
    ledger_path(target_of(client, index)).unlink()
    with pytest.raises(NotWholeError, match="differing: chunks are not in both this index and") as caught:
        rebuild(client, index)
    (found,) = (one for one in caught.value.verification.findings if one.kind == "differing")
    assert (found.count, set(found.first)) == (2, {"r7#0", "r99#0"})


def test_an_alias_is_switched_and_rolled_back(client, index, alias, fill):
    first = f"{index}-first"
    fill(first, records(30))
    client.indices.put_alias(index=first, name=alias)
    done = rebuild(client, alias, Shape(quantisation="bbq"))
    assert (done.switch.before, done.switch.after, done.switch.deleted) == (first, done.index, ())
    assert done.source == first
    again = rebuild(client, alias, Shape(quantisation="flat"))
    assert again.source == done.index
    assert roll_back(client, alias).after == done.index
    third = rebuild(client, alias, Shape(quantisation="hnsw"), keep=0)
    assert rebuild(client, third.index).index.count("-20") == third.index.count("-20"), "names do not grow"
    assert set(third.switch.deleted) == {again.index, done.index}
    assert client.indices.exists(index=first), "nobody built it for the alias"


def test_an_alias_may_be_given_to_the_new_index(client, index, alias, fill):
    first = f"{index}-first"
    fill(first, records(5))
    done = rebuild(client, first, alias=alias)
    assert done.index.startswith(f"{alias}-20")
    assert holder(client, alias) == done.index


def test_an_alias_that_moved_meanwhile_stays(client, index, alias, fill, monkeypatch):
    first, second = f"{index}-1", f"{index}-2"
    fill(first, records(5))
    fill(second, records(5))
    client.indices.put_alias(index=first, name=alias)

    def verify_late(*arguments, **options):
        client.indices.delete_alias(index=first, name=alias)
        client.indices.put_alias(index=second, name=alias)
        return verify(*arguments, **options)

    monkeypatch.setattr(module, "verify", verify_late)
    with pytest.raises(IndexContractError, match=f"stands for '{second}' now, no more for '{first}'"):
        rebuild(client, alias)
    assert holder(client, alias) == second


def test_what_is_not_the_same_is_not_switched(client, index, alias, fill, monkeypatch):
    first = f"{index}-first"
    fill(first, records(40))
    client.indices.put_alias(index=first, name=alias)

    def copied_from(*arguments):
        client.index(index=first, id="late", document={"content": "x"})
        return NO

    with monkeypatch.context() as patch:
        patch.setattr(module, "copied_from", copied_from)
        with pytest.raises(NotWholeError, match=f"{first} has 41 documents, {alias}-.* 40; the same command again"):
            rebuild(client, alias)
    assert holder(client, alias) == first
    done = rebuild(client, alias)
    assert (done.documents, done.switch.before) == (41, first)


def test_what_was_wrong_with_the_old_one_is_copied_and_said(client, index, fill, stored, caplog):
    fill(index, records(40))
    body = stored(index)["r0#0"]
    client.index(index=index, id="note", document={"content": "x"})
    client.index(
        index=index, id="r0#5", document={**body, "chunk_index": 5, "content": "longer than its place says" * 9}
    )
    client.index(index=index, id="r3#0", document={"content": "x", "parent_id": "r3", "chunk_index": 0})
    client.delete(index=index, id="r9#0")
    done = rebuild(client, index)
    assert done.verification.holds
    assert done.documents == 41
    assert stored(done.index) == stored(index)
    for kind in ("missing: 2 chunks", "surplus: 1 chunks", "foreign: 2 documents", "length: "):
        assert f"{done.index} is as the old one is: {kind}" in caplog.text


def test_a_copy_without_a_vector_is_no_copy(client, index, fill, monkeypatch):
    fill(index, records(40))
    copy_ledger = module.LedgerReader.copy

    def lose_a_vector(self, path, target):
        copy_ledger(self, path, target)
        client.update(index=target.index, id="r7#0", doc={"embedding": None}, refresh=True)

    monkeypatch.setattr(module.LedgerReader, "copy", lose_a_vector)
    with pytest.raises(NotWholeError, match=f"{index} has 40 vectors, {index}-.* 39"):
        rebuild(client, index)


def test_what_cannot_be_rebuilt(client, index, alias, fill):
    with pytest.raises(IndexMissingError):
        rebuild(client, index)
    client.indices.create(index=f"{index}-foreign")
    with pytest.raises(IndexContractError, match="was not made by medte"):
        rebuild(client, f"{index}-foreign")
    name = f"{index}-mine"
    fill(name, records(3))
    with pytest.raises(IndexContractError, match="is there already"):
        rebuild(client, name, to=f"{index}-foreign")
    held = Ledger(ledger_path(target_of(client, name)), target_of(client, name), "", {})
    with held, pytest.raises(LedgerError, match="in use"):
        rebuild(client, name)
    begin_loading(client, name, new=True)
    with pytest.raises(IndexContractError, match="is being loaded"):
        rebuild(client, name)
    with building(client, alias, alias=alias, origin="x") as one:
        fill(one.index, records(1), meta=one.to_meta())
    with pytest.raises(IndexContractError, match="is not whole"):
        rebuild(client, one.index)


class TestGoingOn:
    def test_after_a_stop(self, client, index, fill, monkeypatch):
        fill(index, records(100))
        monkeypatch.setattr(module, "_PAGE", 10)
        stop = Stop()
        write = module.bulk.write

        def stopping(*arguments, **options):
            stop.ask()
            return write(*arguments, **options)

        monkeypatch.setattr(module.bulk, "write", stopping)
        first = rebuild(client, index, stop=stop)
        assert first.interrupted
        assert first.copied == 10
        assert first.verification is None
        monkeypatch.setattr(module.bulk, "write", write)
        with pytest.raises(IndexContractError, match="is not whole"):
            rebuild(client, first.index)
        second = rebuild(client, index)
        assert second.index == first.index
        assert (second.copied, second.documents) == (91, 100), "the document at the position once more"
        assert rebuild(client, index).index != first.index, "what is whole is not gone on with"

    def test_what_changed_meanwhile_is_copied_too(self, client, index, fill, monkeypatch, stored):
        fill(index, records(50))
        monkeypatch.setattr(module, "_PAGE", 10)
        stop = Stop()
        finish = module._Rebuilding.finish
        monkeypatch.setattr(module._Rebuilding, "finish", lambda self: stop.ask())
        assert rebuild(client, index, stop=stop).copied == 50
        monkeypatch.setattr(module._Rebuilding, "finish", finish)
        fill(index, [*records(5, word="new"), *records(5, start=70)])
        done = rebuild(client, index)
        assert (done.copied, done.documents) == (11, 55)
        assert stored(done.index) == stored(index)

    def test_another_shape_is_another_rebuild(self, client, index, fill, monkeypatch):
        fill(index, records(20))
        monkeypatch.setattr(module._Rebuilding, "finish", lambda self: stop.ask())
        stop = Stop()
        first = rebuild(client, index, Shape("flat"), stop=stop)
        stop = Stop()
        second = rebuild(client, index, Shape("bbq"), stop=stop)
        assert first.index != second.index
        stop = Stop()
        third = rebuild(client, index, Shape("flat"), stop=stop, fresh=True)
        assert (third.copied, third.quantisation) == (20, "flat")
        assert [one.index for one in builds(client) if one.index.startswith(index)].count(first.index) == (
            first.index == third.index
        )

    def test_by_an_alias_only_one_is_begun(self, client, index, alias, fill, monkeypatch):
        fill(f"{index}-first", records(20))
        client.indices.put_alias(index=f"{index}-first", name=alias)
        stop = Stop()
        with monkeypatch.context() as patch:
            patch.setattr(module._Rebuilding, "finish", lambda self: stop.ask())
            first = rebuild(client, alias, Shape("flat"), stop=stop)
        with pytest.raises(IndexContractError, match=f"'{first.index}' was begun .* --fresh"):
            rebuild(client, alias, Shape("bbq"))
        with pytest.raises(IndexContractError, match="nothing was deleted, "):
            rebuild(client, alias, Shape("bbq", "engish"), fresh=True)
        assert first.index in {one.index for one in builds(client)}
        done = rebuild(client, alias, Shape("bbq"), fresh=True)
        assert holder(client, alias) == done.index
        assert {one.index for one in builds(client) if one.alias == alias} == {done.index}


SLOW = """
import sys
from es_ingest.cluster.connection import Connection
from es_ingest.indices import rebuild
from es_ingest.indices.rebuild import Shape
rebuild._PAGE, rebuild._TOLD_EVERY = 20, 0.0
with Connection(sys.argv[1], "url").client() as client:
    rebuild.rebuild(client, sys.argv[2], Shape(quantisation="flat"))
"""


def test_a_killed_rebuild_goes_on_and_then_switches(client, connection, es_ingest, begin, begun, alias, fill, stored):
    first = f"{alias}-first"
    fill(first, records(3000))
    client.indices.put_alias(index=first, name=alias)
    process = begin("-c", SLOW, connection.url, alias)
    name, count = wait_for(lambda: begun(200), process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 200 <= count < 3000
    assert holder(client, alias) == first
    done = es_ingest("rebuild", alias, "--quantisation", "flat", "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["index"] == name
    assert 0 < told["copied"] <= 3000 - 100
    assert told["switch"] == {"alias": alias, "before": first, "after": name, "deleted": []}
    assert told["verification"]["holds"] is True
    assert stored(name) == stored(first)
    assert es_ingest("verify", alias, "--no-encode").returncode == 0


def test_a_killed_rebuild_of_several_shards_misses_nothing_that_came_meanwhile(
    client, connection, es_ingest, begin, begun, alias, fill, stored
):
    first, shards = f"{alias}-first", range(3)
    fill(first, records(600), shards=3)
    in_shard = [
        {hit["_id"] for hit in client.search(index=first, size=600, preference=f"_shards:{shard}")["hits"]["hits"]}
        for shard in shards
    ]
    assert all(len(found) > 100 for found in in_shard)
    busiest = [one for one in records(600) if f"{one.id}#0" in in_shard[0]]
    for version in range(4):  # this shard counts much further than the others
        fill(first, [replace(one, meta={**one.meta, "version": version}) for one in busiest])
    client.indices.put_alias(index=first, name=alias)
    process = begin("-c", SLOW, connection.url, alias)
    name, count = wait_for(lambda: begun(450), process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 450 <= count < 600
    changed = [one for n in shards for one in records(600) if f"{one.id}#0" in in_shard[n]][::7]
    fill(first, [replace(one, text=f"{one.text} And of its stones.") for one in changed])
    fill(first, records(30, start=900))
    done = es_ingest("rebuild", alias, "--quantisation", "flat", "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["index"] == name
    assert len(changed) + 30 <= told["copied"] < 600
    assert stored(name) == stored(first)


def test_an_unfinished_rebuild_of_an_older_version_is_done_from_its_beginning(client, index, fill, monkeypatch, stored):
    fill(index, records(20), shards=3)
    stop = Stop()
    with monkeypatch.context() as patch:
        patch.setattr(module._Rebuilding, "finish", lambda self: stop.ask())
        begun = rebuild(client, index, stop=stop).index
    (build,) = (one for one in builds(client) if one.index == begun)
    build.keep(client, position=15)
    done = rebuild(client, index)
    assert (done.index, done.copied) == (begun, 20)
    assert stored(begun) == stored(index)


def test_the_command(client, es_ingest, index, fill):
    fill(index, records(20))
    done = es_ingest("rebuild", index, "--quantisation", "bbq", "--analyzer", "simple", "--to", f"{index}-new")
    assert done.returncode == 0, done.stderr
    assert f"{index}-new (bbq, analyzer simple)" in done.stdout
    assert "20 copied, 20 in all" in done.stdout
    again = es_ingest("rebuild", index, "--to", f"{index}-new")
    assert (again.returncode, "is there already" in again.stderr) == (6, True)
    assert es_ingest("rebuild", index, "--quantisation", "zip").returncode == 2
