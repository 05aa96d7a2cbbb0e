"""Lays the published files out in the folder of a run: pairs to train on, and apart from them what is evaluated.

data/medquad   MedQuAD's sources that are trained on
data/heldout   its sources that are evaluated
data/scifact   SciFact
data/abstracts.jsonl   Medical Abstracts
pairs          a file a source, made by `medte-train pairs`
"""

import csv
import gzip
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from recipes.public.commands import call

HELD_OUT = ("1_CancerGov_QA", "7_SeniorHealth_QA", "8_NHLBI_QA_XML", "9_CDC_QA")
"""Folders of MedQuAD's archive that are evaluated and never trained on."""
SCIFACT = "data/scifact"
ABSTRACTS = "data/abstracts.jsonl"

_MEDQUAD = ("data/medquad",)
_TITLED = ("--title-field", "title", "--text-field", "abstract")
PAIRS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "medquad": _MEDQUAD,  # question -> answer
        "diseases": (*_MEDQUAD, "--same", "url"),  # answer -> another answer on the same page, that is of one disease
        "concepts": (*_MEDQUAD, "--same", "cuis"),  # answer -> one of any page on the same concept of UMLS
        "abstracts": ("{pubmed}", *_TITLED),  # title -> abstract
        "halves": ("{pubmed}", *_TITLED, "--halves"),
        "pubmedqa": ("{pubmedqa}",),  # question -> abstract
        "conclusions": ("{pubmedqa}", "--anchor", "answer"),  # conclusion -> abstract
    }
)
"""What `medte-train pairs` is told, by source."""


@dataclass(frozen=True, slots=True)
class Files:
    """The published files.

    :param medquad: The archive of MedQuAD's XML.
    :param scifact: SciFact's BEIR folder.
    :param pubmed: JSON Lines with ``title`` and ``abstract``.
    :param pubmedqa: ori_pqal.json.
    :param abstracts: Medical Abstracts' test part: CSV with ``condition_label`` and ``medical_abstract``.
    """

    medquad: Path
    scifact: Path
    pubmed: Path
    pubmedqa: Path
    abstracts: Path


def lay_out(files: Files, place: Path) -> None:
    """Make what is missing of data and pairs."""
    (place / "data").mkdir(parents=True, exist_ok=True)
    if not (place / SCIFACT).exists():
        (place / SCIFACT).symlink_to(files.scifact.resolve(), target_is_directory=True)
    if not (place / "data" / "heldout").exists():
        _split_medquad(files.medquad, place / "data")
    if not (place / ABSTRACTS).exists():
        rows = ({"id": str(number), **row} for number, row in enumerate(_rows(files.abstracts)))
        _write(place / ABSTRACTS, "".join(f"{json.dumps(row)}\n" for row in rows))
    given = {"{pubmed}": files.pubmed.resolve(), "{pubmedqa}": files.pubmedqa.resolve()}
    for name, words in PAIRS.items():
        if not (place / "pairs" / f"{name}.jsonl.gz").exists():
            print(call("medte-train", "pairs", *(given.get(word, word) for word in words), "--name", name, place=place))


def labelled(place: Path) -> tuple[list[str], list[str]]:
    """Return the texts and the classes of Medical Abstracts."""
    rows = [json.loads(line) for line in (place / ABSTRACTS).read_text("utf-8").splitlines()]
    return [row["medical_abstract"] for row in rows], [row["condition_label"] for row in rows]


def _split_medquad(archive: Path, folder: Path) -> None:
    half = folder / ".heldout.part"
    with tarfile.open(archive) as found:
        for member in found:
            parts = Path(member.name).parts
            if len(parts) > 1:
                found.extract(member, half if parts[0] in HELD_OUT else folder / "medquad", filter="data")
    half.rename(folder / "heldout")


def _rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") if path.suffix == ".gz" else path.open() as file:
        return list(csv.DictReader(file))


def _write(path: Path, text: str) -> None:
    half = path.with_name(f".{path.name}.part")
    half.write_text(text, encoding="utf-8")
    half.replace(path)
