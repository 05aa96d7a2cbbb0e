"""Small made-up exports of every source, in the shape in which the source gives them."""

import csv
import datetime
import json
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from medte_eval.tasks.benchmark import mimic, pmc, wikipedia

THEMES = ("heart", "lung", "stomach", "brain", "skin", "eye", "bone", "blood")
PAGES = 6
_STAYS = 4  # of one diagnosis
_FIRST_DAY = datetime.datetime(2180, 1, 1)


def write_exports(folder: Path, *, turned: bool = False) -> Mapping[str, Path]:
    """Write an export of each source.

    :param turned: Give what a source has in the opposite order.
    :returns: Names of sources to their exports.
    """
    found = {}
    for name, write in _WRITERS.items():
        found[name] = folder / name
        found[name].mkdir(parents=True)
        write(found[name], -1 if turned else 1)
    return found


def _lines(path: Path, rows: Iterable[Mapping[str, Any]], step: int) -> None:
    path.write_text("\n".join(json.dumps(row) for row in list(rows)[::step]), "utf-8")


def _wikipedia(folder: Path, step: int) -> None:
    categories = {*chain(*wikipedia.LABEL_SETS.values()), "Diseases and disorders by system"}
    rows = []
    for category in sorted(categories):
        for number in range(PAGES):
            told = f"{category} {number}: of {THEMES[number]} and what {category} means for the {THEMES[number]}"
            extract = (
                f"The lead.\n\n== Causes ==\nCauses of {told}. It is long known!\n\n== Treatment ==\nTreatment of"
                f" {told}. It is seldom needed.\n\n=== Notes ===\nSee also\n"
            )
            rows.append({"category": category, "pageid": number, "title": f"{category} {number}", "extract": extract})
    _lines(folder / "pages.jsonl", rows, step)


def _pmc(folder: Path, step: int) -> None:
    for query in {query for queries in pmc.LABEL_SETS.values() for query in queries.values()}:
        articles = [
            '<article><front><article-meta><article-id pub-id-type="pmcid">PMC'
            f"{number}</article-id><title-group><article-title>{query} of the {theme}</article-title></title-group>"
            f'<permissions><license license-type="cc-by"/></permissions><abstract><p>A {query}.</p></abstract>'
            "</article-meta></front></article>"
            for number, theme in enumerate(THEMES)
        ]
        (folder / f"{query}.xml").write_text(f"<pmc-articleset>{''.join(articles[::step])}</pmc-articleset>")


def _pubmed(folder: Path, step: int) -> None:
    papers = []
    for number, theme in enumerate(THEMES):
        abstract = f"<Abstract><AbstractText>We studied the {theme} for years.</AbstractText></Abstract>" * bool(number)
        papers.append(
            f"<PubmedArticle><MedlineCitation><PMID>{number}</PMID><Article><ArticleTitle>On the {theme}"
            f"</ArticleTitle>{abstract}</Article></MedlineCitation></PubmedArticle>"
        )
    (folder / "papers.xml").write_text(f"<PubmedArticleSet>{''.join(papers[::step])}</PubmedArticleSet>")


def _trials(folder: Path, step: int) -> None:
    studies = [
        {
            "protocolSection": {
                "identificationModule": {"nctId": f"NCT{number:08}"}
                | ({"officialTitle": f"A trial of the {theme}"} if number else {}),
                "descriptionModule": {"detailedDescription": f"Patients with a weak {theme} get a drug.\n\nOr none."},
                "outcomesModule": {
                    "primaryOutcomes": [
                        {"measure": f"Strength of the {theme}", "description": "By scale", "timeFrame": "1 y"},
                        {"measure": "Death", "timeFrame": "2 y"},
                    ]
                },
            }
        }
        for number, theme in enumerate(THEMES)
    ]
    (folder / "studies.json").write_text(json.dumps({"studies": studies[::step]}))


def _preprints(server: str, folder: Path, step: int) -> None:
    rows = [
        {
            "doi": f"10.1101/{number}",
            "version": str(version),
            "title": f"The {theme} in {server}",
            "abstract": f"Version {version} about the {theme}." if number else "",
            "date": f"2020-0{version}-01",
            "license": "cc_by",
            "server": server,
        }
        for number, theme in enumerate(THEMES)
        for version in (1, 2)
    ]
    rows.append({**rows[-1], "doi": "10.1101/late", "date": "2022-12-21"})
    _lines(folder / "records.jsonl", rows, step)


def _medmcqa(folder: Path, step: int) -> None:
    for split in ("train", "validation", "test"):
        rows = [
            {
                "id": f"{number}",
                "question": f"What is true of the {theme}?",
                "opa": f"The {theme} beats",
                "opb": "None",
                "opc": "",
                "opd": "NA",
                "cop": -1 if split == "test" else 0,
                "exp": None if split == "test" else f"Books say that the {theme} does.",
            }
            for number, theme in enumerate(THEMES[:4])
        ]
        _lines(folder / f"{split}.jsonl", rows, step)


def _medqa(folder: Path, step: int) -> None:
    rows = [
        {
            "question": f"A man has pain in the {theme}. What now?",
            "options": {"A": f"Look at the {theme}", "B": "Nothing", "C": "Wait", "D": "Run"},
            "answer_idx": "A",
        }
        for theme in THEMES
    ]
    _lines(folder / "train.jsonl", rows[:6], step)
    _lines(folder / "test.jsonl", rows[6:], step)


def _medquad(folder: Path, step: int) -> None:
    rows = [
        {
            "document_source": "X",
            "question_id": f"{number}",
            "question": f"What is the {theme}?",
            "answer": f"The {theme} is an organ.",
        }
        for number, theme in enumerate(THEMES)
    ]
    rows.append({**rows[0], "question_id": "98", "answer": ""})
    rows.append({**rows[0], "question_id": "99", "question": ""})
    _lines(folder / "train.jsonl", rows, step)


def _mimic(folder: Path, step: int) -> None:
    """Write some stays for each phrase of each label set, of one patient; every second patient is back after a day."""
    phrases = {phrase.lower() for groups in mimic.LABEL_SETS.values() for some in groups.values() for phrase in some}
    notes, admissions = [], []
    for subject, phrase in enumerate(sorted(phrases)):
        for later in range(_STAYS):
            stay = _STAYS * subject + later
            begins = _FIRST_DAY + datetime.timedelta(days=later * (5 if subject % 2 else 100))
            text = (
                f"Chief Complaint:\n{phrase} pain {later}\nHistory of Present Illness:\nThe patient came with {phrase}"
                f" for the {subject}th time.\nPast Medical History:\nnone\nBrief Hospital Course:\nfine\nDischarge"
                f" Diagnosis:\n{phrase.upper() if later % 2 else phrase}\nDischarge Condition:\ngood\nDischarge"
                f" Instructions:\nRest, and mind the {phrase}.\nFollowup Instructions:\nNone.\n"
            )
            notes.append([f"{subject}-DS-{stay}", subject, stay, "DS", 1, begins, begins, text])
            admissions.append([subject, stay, begins, begins + datetime.timedelta(days=4)])
    columns = ["note_id", "subject_id", "hadm_id", "note_type", "note_seq", "charttime", "storetime", "text"]
    _table(folder / "discharge.csv", columns, notes[::step])
    _table(folder / "admissions.csv", ["subject_id", "hadm_id", "admittime", "dischtime"], admissions[::step])


def _table(path: Path, columns: list[str], rows: list[list[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


_WRITERS = {
    "wikipedia": _wikipedia,
    "pmc": _pmc,
    "pubmed": _pubmed,
    "trials": _trials,
    "biorxiv": lambda folder, step: _preprints("biorxiv", folder, step),
    "medrxiv": lambda folder, step: _preprints("medrxiv", folder, step),
    "medmcqa": _medmcqa,
    "medqa": _medqa,
    "medquad": _medquad,
    "mimic": _mimic,
}
