r"""Trains on public data and tells what it brought: pairs, training, averages with the base, scores, significance.

    python -m recipes.public --medquad medquad-xml.tar.gz --scifact scifact --pubmed title_abstract.jsonl.gz \
      --pubmedqa ori_pqal.json.gz --abstracts test.csv.gz --out runs/public

What is trained and scored already is not done again, so the same command goes on where it was ended. Configurations are
`recipes/public/configs/NAME.toml`; `--ablation` trains all of `ABLATION` instead.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from recipes.public.commands import call, call_json
from recipes.public.data import ABSTRACTS, SCIFACT, Files, lay_out
from recipes.public.scores import Scores

BASE = "minilm"
CONFIGS = Path(__file__).parent / "configs"
_HELD = ("MedQuADRetrieval", f"beir:{SCIFACT}", ABSTRACTS)
_MINED = "mined"


class Variant(NamedTuple):
    """A training run: a configuration, and what is changed of it."""

    config: str
    changes: tuple[str, ...] = ()
    mined: bool = False


_LOCALITY = ("batches.kind=locality", "batches.rows_per_cluster=1000", "batches.first_clusters=7")
ABLATION: Mapping[str, Variant] = MappingProxyType(
    {
        "random": Variant("ablation"),
        "locality": Variant("ablation", _LOCALITY),
        "all-sources": Variant("ablation", ("data.one_source_per_batch=false", "data.mixing_temperature=1.0")),
        "hard": Variant("ablation", ("data.negatives=1",), mined=True),
        "locality-hard": Variant("ablation", (*_LOCALITY, "data.negatives=1"), mined=True),
    }
)


def main(arguments: Sequence[str]) -> None:
    """Do what is asked for, print a table and write `results.json`."""
    chosen = _parser().parse_args(arguments)
    place: Path = chosen.out.resolve()
    lay_out(Files(chosen.medquad, chosen.scifact, chosen.pubmed, chosen.pubmedqa, chosen.abstracts), place)
    variants = ABLATION if chosen.ablation else {name: Variant(name) for name in chosen.names}
    scores = Scores(place, chosen.precision)
    scores.score(BASE, BASE)
    rows = []
    for name, variant in variants.items():
        trained = _train(name, variant, chosen.set, place)
        rows += [_row(scores, name, 0.0, f"runs/{name}/model", trained)]
        for share in chosen.base_share:
            rows.append(_row(scores, f"{name}-{share}", share, _average(name, share, place), trained))
        _write(place / ("ablation.json" if chosen.ablation else "results.json"), rows)


def _parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = sorted(path.stem for path in CONFIGS.glob("*.toml"))
    found.add_argument("names", nargs="*", default=["medical"], choices=names, metavar="NAME", help=", ".join(names))
    found.add_argument("--medquad", type=Path, required=True, help="MedQuAD's XML, one archive")
    found.add_argument("--scifact", type=Path, required=True, help="SciFact's BEIR folder")
    found.add_argument("--pubmed", type=Path, required=True, help="JSON Lines with title and abstract")
    found.add_argument("--pubmedqa", type=Path, required=True, help="PubMedQA's ori_pqal.json")
    found.add_argument("--abstracts", type=Path, required=True, help="Medical Abstracts' test part, CSV")
    found.add_argument("--out", type=Path, default=Path("runs/public"), help="folder for everything")
    found.add_argument("--base-share", type=float, nargs="*", default=[], help="also average with the base's weights")
    found.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="as `medte-train run --set`")
    found.add_argument("--precision", default="fp32", help="of the evaluation; auto is faster and a thousandth off")
    found.add_argument("--ablation", action="store_true", help="train what the ablation table compares")
    return found


def _train(name: str, variant: Variant, changes: Sequence[str], place: Path) -> dict[str, Any]:
    held = (f"data.decontaminate_against={json.dumps(_HELD)}", "evaluation.data=data/heldout")
    sets = [word for change in (*held, *variant.changes, *changes) for word in ("--set", change)]
    if variant.mined:
        if not (place / _MINED / "mining.json").exists():
            files = ("pairs/medquad.jsonl.gz", "pairs/abstracts.jsonl.gz", "pairs/pubmedqa.jsonl.gz")
            call("medte-train", "mine", *files, "--model", BASE, "--num-negatives", "1", "--out", _MINED, place=place)
        sets += ["--pairs", _MINED]
    config = CONFIGS / f"{variant.config}.toml"
    return call_json("medte-train", "run", config, *sets, "--out", f"runs/{name}", place=place)


def _average(name: str, share: float, place: Path) -> str:
    out = f"runs/{name}/averaged-{share}"
    if not (place / out).exists():
        words = (f"runs/{name}/model", "--base", BASE, "--base-share", str(share), "--out", out)
        call("medte-train", "average", *words, place=place)
    return out


def _row(scores: Scores, name: str, share: float, model: str, trained: Mapping[str, Any]) -> dict[str, Any]:
    scores.score(name, model)
    found = scores.compare(BASE, name)
    return {"name": name, "base_share": share, "steps": trained["steps"], "against_base": found}


def _write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.write_text(json.dumps({"base": BASE, "models": rows}, indent=2) + "\n", encoding="utf-8")
    for row in rows:
        numbers = "".join(f"{one['b']:9.3f} {one['difference']:+.3f}" for one in row["against_base"])
        print(f"{row['name']:24}{row['steps']:6}{numbers}")


if __name__ == "__main__":
    main(sys.argv[1:])
