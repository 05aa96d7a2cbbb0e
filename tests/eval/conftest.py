"""Small data sets of a MedQuAD and a BEIR folder, the real minilm, and a client of the real server."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from es_ingest.cluster import Connection
from medte_eval.systems import SystemOptions, find_systems
from medte_eval.systems.corpus import CorpusIndex
from medte_eval.systems.system import ShowProgress, System, silent
from medte_eval.systems.texts import TextIndex
from medte_haystack.encoder import Encoder

CONDITIONS = (
    "gout", "asthma", "psoriasis", "migraine", "glaucoma", "anemia", "hepatitis", "epilepsy", "scurvy", "cholera",
)  # fmt: skip
ASPECTS = {
    "What are the symptoms of {}?": "People with {} often notice certain signs. The first sign differs from person to"
    " person, and doctors ask how long it lasts. A diary helps.",
    "How is {} treated?": "Treatment of {} depends on age and severity. Medicine, rest and a change of diet may help,"
    " and surgery is seldom needed. Ask for a second opinion.",
    "What causes {}?": "Nobody knows all causes of {}. Genes, infections and the environment each play a part, as"
    " studies of families have shown. Research goes on.",
}


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    return Encoder.load("minilm", device="cpu", precision="fp32")


@pytest.fixture
def medquad(tmp_path: Path) -> Path:
    """10 documents of 3 pairs; one question has no answer, and two records ask the same."""
    folder = tmp_path / "medquad"
    folder.mkdir()
    for number, condition in enumerate(CONDITIONS, start=1):
        pairs = "".join(
            f'<QAPair pid="{pid}"><Question qid="{number}-{pid}" qtype="x">{question.format(condition)}</Question>'
            f"<Answer>{answer.format(condition)}</Answer></QAPair>"
            for pid, (question, answer) in enumerate(ASPECTS.items(), start=1)
        )
        if number == 1:
            pairs += '<QAPair pid="4"><Question>Is there an answer?</Question><Answer></Answer></QAPair>'
            pairs += (
                "<QAPair pid='5'><Question>What causes gout?</Question><Answer>Crystals of uric acid.</Answer></QAPair>"
            )
        (folder / f"{number:07}.xml").write_text(
            f'<Document id="{number:07}" source="TEST" url=""><Focus>{condition}</Focus>'
            f"<QAPairs>{pairs}</QAPairs></Document>"
        )
    return folder


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    """30 documents with titles, 11 queries of which 10 are judged, graded 1 and 2."""
    folder = tmp_path / "tiny"
    (folder / "qrels").mkdir(parents=True)
    documents = [
        {"_id": f"{condition}-{number}", "title": condition.title(), "text": answer.format("it")}
        for condition in CONDITIONS
        for number, answer in enumerate(ASPECTS.values())
    ]
    queries = [{"_id": str(number), "text": f"how to treat {one}"} for number, one in enumerate(CONDITIONS)]
    queries.append({"_id": "unjudged", "text": "what is rest"})
    grades = [(number, f"{one}-{at}", 2 if at == 1 else 1) for number, one in enumerate(CONDITIONS) for at in (0, 1)]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, documents)))
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    lines = ["query-id\tcorpus-id\tscore", *("\t".join(map(str, row)) for row in grades)]
    (folder / "qrels" / "test.tsv").write_text("\n".join(lines))
    return folder


@pytest.fixture
def client(connection: Connection) -> Iterator[Elasticsearch]:
    """A client; the test fails if it leaves an index of an evaluation behind."""
    with connection.client() as client:
        before = evaluation_indices(client)
        yield client
        assert evaluation_indices(client) <= before


@dataclass
class Given:
    """What systems are made of, without a command around it."""

    options: SystemOptions
    connection: Connection
    encoder: Encoder
    chunks: CorpusIndex
    texts: TextIndex
    show: ShowProgress = silent


@pytest.fixture
def opened(client: Elasticsearch, connection: Connection, encoder: Encoder) -> Iterator[Callable[..., System]]:
    """Opens systems by name; those with the same options share an index, which is removed after the test."""
    made: dict[tuple[Any, ...], Given] = {}

    def open_system(name: str, **given: Any) -> System:
        options = SystemOptions(**given)
        of_index = (options.index, options.quantisation, options.chunk_tokens, options.analyzer)
        if of_index not in made:
            index, texts = CorpusIndex(client, encoder, options), TextIndex(client, analyzer=options.analyzer)
            made[of_index] = Given(options, connection, encoder, index, texts)
        (chosen,) = find_systems([name], options)
        return chosen.open(replace(made[of_index], options=options))

    yield open_system
    for one in made.values():
        one.chunks.close()
        one.texts.close()


def evaluation_indices(client: Elasticsearch) -> set[str]:
    return {row["index"] for row in client.cat.indices(index="medte-eval-*", format="json")}
