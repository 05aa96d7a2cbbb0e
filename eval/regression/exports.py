"""Makes the small exports that the project's regression is built from, of the MedQuAD sample that ships with it.

They have the shape of PubMed Central's and MedQA's, so that the whole way from an export to a score is checked; their
texts are MedQuAD's, and what is scored on them says nothing about the benchmark.

    python eval/regression/exports.py FOLDER
"""

import json
import random
import sys
from collections.abc import Iterable
from pathlib import Path
from xml.sax.saxutils import escape

from es_ingest.data import medquad_sample
from es_ingest.readers import read
from es_ingest.records import Record

QUERIES = {"diagnostic": "exams and tests", "therapeutic": "treatment"}
"""PubMed Central's queries to MedQuAD's types of questions."""
_ARTICLES = 200  # of a query
_QUESTIONS = 150
_SEED = 42


def main(folder: Path) -> None:
    """Write the exports `pmc` and `medqa` into a folder."""
    records = sorted((one for one in read([str(medquad_sample())], "medquad") if isinstance(one, Record)), key=_id)
    for kind in ("pmc", "medqa"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for query, asked in QUERIES.items():
        answers = [one for one in records if one.meta["qtype"] == asked][:_ARTICLES]
        (folder / "pmc" / f"{query}.xml").write_text(_articles(answers), "utf-8")
    (folder / "medqa" / "test.jsonl").write_text("".join(_questions(records)), "utf-8")


def _id(record: Record) -> str:
    return record.id


def _articles(answers: Iterable[Record]) -> str:
    """Return answers as articles: the disease is the title, the answer the abstract."""
    return "".join(
        [
            "<pmc-articleset>",
            *(
                f'<article><front><article-meta><article-id pub-id-type="pmcid">PMC{number}</article-id><title-group>'
                f"<article-title>{escape(one.title)}</article-title></title-group><abstract><p>{escape(one.text)}</p>"
                "</abstract></article-meta></front></article>\n"
                for number, one in enumerate(answers, start=1)
            ),
            "</pmc-articleset>\n",
        ]
    )


def _questions(records: list[Record]) -> Iterable[str]:
    """Give questions with four answers to choose from: its own, and those to other questions of its type."""
    draw = random.Random(_SEED)  # noqa: S311  a repeatable sample
    for one in draw.sample(records, _QUESTIONS):
        others = [other for other in records if other.meta["qtype"] == one.meta["qtype"] and other.title != one.title]
        options = [one.text, *(other.text for other in draw.sample(others, 3))]
        draw.shuffle(options)
        row = {
            "question": one.meta["question"],
            "options": dict(zip("ABCD", options, strict=True)),
            "answer_idx": "ABCD"[options.index(one.text)],
        }
        yield json.dumps(row, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
