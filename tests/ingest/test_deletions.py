"""Citations that PubMed's update files delete, on the real server: gone whoever brought them, until they come again."""

import json

import pytest

from es_ingest.indices.verify import verify

pytestmark = pytest.mark.usefixtures("connection")


def article(pmid, text):
    return (
        f"<PubmedArticle><MedlineCitation><PMID>{pmid}</PMID><Article><ArticleTitle>T{pmid}</ArticleTitle>"
        f"<Abstract><AbstractText>{text}</AbstractText></Abstract></Article></MedlineCitation></PubmedArticle>"
    )


def deletion(*pmids):
    return f"<DeleteCitation>{''.join(f'<PMID>{pmid}</PMID>' for pmid in pmids)}</DeleteCitation>"


LONG = " ".join(["A sentence of an abstract that is longer than what the model takes."] * 60)


@pytest.fixture
def plain(es_ingest, index):
    """Runs the command over files."""
    options = ("--format", "pubmed", "--index", index, "--model", "minilm", "--chunk-tokens", "100")
    return lambda *arguments: es_ingest("run", *arguments, *options)


@pytest.fixture
def run(plain, tmp_path):
    """Runs over files of what is given, and returns the summary; a second time they are as they were."""

    def call(*options, **files):
        for name, parts in files.items():
            (tmp_path / f"{name}.xml").write_text(f"<PubmedArticleSet>{''.join(parts)}</PubmedArticleSet>")
        done = plain(*(f"{name}.xml" for name in files), "--json", *options)
        assert done.returncode in (0, 3), done.stderr
        return json.loads(done.stdout)

    return call


@pytest.fixture
def stored(client, index):
    def look():
        hits = client.search(index=index, size=100)["hits"]["hits"]
        return {hit["_source"]["parent_id"] for hit in hits}

    return look


@pytest.fixture
def holds(client, index, tmp_path):
    """Tells whether index and ledger agree."""

    def look():
        (ledger,) = (tmp_path / "state").glob("*.sqlite")
        return verify(client, index, ledger=ledger, expected="not looked at").holds

    return look


def test_what_another_job_brought(run, plain, stored, holds, tmp_path):
    run(baseline=[article(1, "One."), article(2, LONG), article(3, "Three.")])
    update = {"update": [article(4, "Four."), deletion(2, 99)]}
    first = run(**update)
    assert (first["deleted"], first["read"], first["records"], first["missing"]) == (1, 1, 1, 0)
    assert first["removed"] > 1, "all chunks"
    assert stored() == {"1", "3", "4"}
    assert holds()
    again = run(**update)
    assert (again["deleted"], again["removed"], again["unchanged"]) == (0, 0, 1)
    assert not plain("update.xml").stdout.count("deleted")
    (tmp_path / "another.xml").write_text(f"<PubmedArticleSet>{deletion(1)}</PubmedArticleSet>")
    assert "\ndeleted       1 records that the sources say are no more were removed\n" in plain("another.xml").stdout


def test_what_the_same_run_brought_and_what_comes_again(run, stored, holds):
    files = {
        "a": [article(1, "One."), article(2, LONG), article(3, "Three.")],
        "b": [deletion(2, 3)],
        "c": [article(3, "Three.")],
    }
    first = run(**files)
    assert (first["deleted"], first["read"], first["unchanged"] + first["records"]) == (1, 4, 4)
    assert stored() == {"1", "3"}
    assert holds()
    again = run(**files)
    assert (again["deleted"], again["failed"]) == (1, 0), "it is written and removed once more"
    assert stored() == {"1", "3"}
    assert holds()
    later = run(d=[article(2, "Two is back.")])
    assert (later["records"], later["deleted"]) == (1, 0)
    assert stored() == {"1", "2", "3"}
    assert holds()


def test_two_jobs_had_it_and_neither_misses_it(run, stored, holds):
    run(a=[article(1, "One."), article(2, "Two.")])
    run(b=[article(2, "Two."), article(3, "Three.")])
    assert run(c=[deletion(2)])["deleted"] == 1
    run("--delete-missing", a=[article(1, "One.")])
    run("--delete-missing", b=[article(3, "Three.")])
    assert stored() == {"1", "3"}
    assert holds()


def test_a_letter_of_before_does_not_bring_it_back(run, stored, es_ingest, index, tmp_path):
    dead = tmp_path / "dead.jsonl"
    run("--dead", str(dead), a=[article(1, "One."), article("x2", "Two.")])
    letter = json.loads(dead.read_text())
    letter["raw"] = letter["raw"].replace("x2", "2")
    dead.write_text(json.dumps(letter))
    run(b=[deletion(2)])
    done = es_ingest("replay", str(dead), "--index", index, "--json")
    assert (json.loads(done.stdout)["records"], stored()) == (0, {"1"}), done.stderr
    assert "1 records were left out: a later run or replay has written or removed them" in done.stderr


def test_a_run_that_is_not_whole_deletes_nothing_yet(run, plain, stored, tmp_path):
    run(a=[article(1, "One."), article(2, "Two.")])
    (tmp_path / "b.xml").write_text(f"<PubmedArticleSet>{article(3, 'Three.')}{deletion(2)}</PubmedArticleSet>")
    (tmp_path / "no.xml").write_text("<html/>")
    done = plain("b.xml", "no.xml")
    assert done.returncode == 7
    assert stored() == {"1", "2", "3"}
