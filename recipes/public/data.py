"""Lays the published files out in the folder of a run: pairs to train on, and apart from them what is evaluated.

data/medquad, data/pubmed.jsonl   what is trained on of MedQuAD and of PubMed's titles and abstracts
data/held/dev, data/held/test   MedQuAD's sources that are evaluated
data/scifact-dev, data/scifact-test   SciFact's training queries, and its test queries
data/clusters-dev.jsonl   abstracts of PubMed that are not trained on, by the review that they were screened for
data/clusters-test.jsonl   Medical Abstracts
pairs   a file a source, made by `medte-train pairs`

Everything is chosen by scores on dev, and what was chosen is scored on test once.
"""

import csv
import gzip
import hashlib
import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

from recipes.public.commands import call

PARTS = ("dev", "test")
HELD_OUT: Mapping[str, str] = MappingProxyType(
    {
        "5_NIDDK_QA": "dev",
        **dict.fromkeys(("1_CancerGov_QA", "7_SeniorHealth_QA", "8_NHLBI_QA_XML", "9_CDC_QA"), "test"),
    }
)
"""Folders of MedQuAD's archive that are evaluated and never trained on, and in which part."""
EVALUATED = (
    "MedQuADRetrieval",
    *(f"beir:data/scifact-{part}" for part in PARTS),
    *(f"data/clusters-{part}.jsonl" for part in PARTS),
)
"""What pairs are kept free of, with `data/held` as MedQuAD's data."""

_MEDQUAD = ("data/medquad",)
_ABSTRACTS = ("data/pubmed.jsonl", "--title-field", "title", "--text-field", "abstract")
PAIRS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "medquad": _MEDQUAD,  # question -> answer
        "diseases": (*_MEDQUAD, "--same", "url"),  # answer -> another answer on the same page, that is of one disease
        "abstracts": _ABSTRACTS,  # title -> abstract
        "conclusions": (*_ABSTRACTS, "--conclusions"),  # what a study found -> title and the rest of its abstract
        "halves": (*_ABSTRACTS, "--halves"),  # one half of an abstract -> the other
        "pubmedqa": ("{pubmedqa}",),  # question -> abstract
        "findings": ("{pubmedqa}", "--anchor", "answer"),  # conclusion -> abstract
    }
)
"""What `medte-train pairs` is told, by source."""
_ONE_IN = 8  # of the abstracts that were screened for a review is not trained on
_INPUTS = "inputs.json"


@dataclass(frozen=True, slots=True)
class Files:
    """The published files.

    :param medquad: The archive of MedQuAD's XML.
    :param scifact: SciFact's BEIR folder.
    :param pubmed: JSON Lines with ``id``, ``title``, ``abstract``, and for some ``source`` and ``included``: the review
        that they were screened for, and whether it took them.
    :param pubmedqa: ori_pqal.json.
    :param abstracts: Medical Abstracts' test part: CSV with ``condition_label`` and ``medical_abstract``.
    """

    medquad: Path
    scifact: Path
    pubmed: Path
    pubmedqa: Path
    abstracts: Path


def lay_out(files: Files, place: Path) -> None:
    """Make what is missing of data and pairs.

    :raises SystemExit: If what is there was made of other files, or by another version.
    """
    data = place / "data"
    data.mkdir(parents=True, exist_ok=True)
    _check_inputs(files, place / _INPUTS)
    if not (data / "held").exists():
        _split_medquad(files.medquad, data)
    for part, judged in zip(PARTS, ("train.tsv", "test.tsv"), strict=True):
        _link_scifact(files.scifact.resolve(), data / f"scifact-{part}", judged)
    if not (data / "pubmed.jsonl").exists():
        rows = list(_json_rows(files.pubmed))
        held = [row for row in rows if _is_held(row)]
        labelled = ({"id": row["id"], "label": row["source"], "text": row["abstract"]} for row in held)
        _write(data / "clusters-dev.jsonl", labelled)
        _write(data / "pubmed.jsonl", (row for row in rows if not _is_held(row)))
    if not (data / "clusters-test.jsonl").exists():
        found = enumerate(_csv_rows(files.abstracts))
        names = ("condition_label", "medical_abstract")
        classes = ({"id": str(number), "label": row[names[0]], "text": row[names[1]]} for number, row in found)
        _write(data / "clusters-test.jsonl", classes)
    for name, words in PAIRS.items():
        if not (place / "pairs" / f"{name}.jsonl.gz").exists():
            given = (files.pubmedqa.resolve() if word == "{pubmedqa}" else word for word in words)
            print(call("medte-train", "pairs", *given, "--name", name, place=place))


def labelled(place: Path, part: str) -> tuple[list[str], list[str]]:
    """Return the texts that are clustered and their classes.

    :param part: One of `PARTS`.
    """
    rows = list(_json_rows(place / "data" / f"clusters-{part}.jsonl"))
    return [row["text"] for row in rows], [row["label"] for row in rows]


def _check_inputs(files: Files, path: Path) -> None:
    found = {"version": version("medte"), **{name: _sha256(one) for name, one in asdict(files).items()}}
    before = json.loads(path.read_text("utf-8")) if path.exists() else found
    if odd := [name for name, value in found.items() if before.get(name) != value]:
        raise SystemExit(f"{path.parent} was made of another {', '.join(odd)}; name another folder with --out")
    path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def _sha256(path: Path) -> str:
    whole = hashlib.sha256()
    for one in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if one.is_file():
            whole.update(one.read_bytes())
    return whole.hexdigest()


def _split_medquad(archive: Path, folder: Path) -> None:
    half = folder / ".held.part"
    with tarfile.open(archive) as found:
        for member in found:
            parts = Path(member.name).parts
            if len(parts) > 1:
                held = HELD_OUT.get(parts[0])
                found.extract(member, half / held if held else folder / "medquad", filter="data")
    half.rename(folder / "held")


def _link_scifact(source: Path, folder: Path, judged: str) -> None:
    """Make a BEIR folder of SciFact whose test queries are those of one of its files of judgements."""
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    for path in source.glob("*.jsonl*"):
        _link(folder / path.name, path)
    _link(folder / "qrels" / "test.tsv", source / "qrels" / judged)


def _link(path: Path, target: Path) -> None:
    if not path.is_symlink():
        path.symlink_to(target)


def _is_held(row: Mapping[str, Any]) -> bool:
    return "included" in row and int(hashlib.sha256(row["abstract"].encode()).hexdigest(), 16) % _ONE_IN == 0


def _json_rows(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def _csv_rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") if path.suffix == ".gz" else path.open() as file:
        return list(csv.DictReader(file))


def _write(path: Path, rows: Iterator[Mapping[str, Any]]) -> None:
    half = path.with_name(f".{path.name}.part")
    half.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    half.replace(path)
