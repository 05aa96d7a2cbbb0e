r"""Trains on public data and tells what it brought: pairs, training, averages with the base, scores, significance.

    python -m recipes.public --medquad medquad-xml.tar.gz --scifact scifact --pubmed title_abstract.jsonl.gz \
      --pubmedqa ori_pqal.json.gz --abstracts test.csv.gz --out runs/public

Scores are those on the development sets, by which settings may be chosen (`--set`, with a `--name` of its own). With
`--test` what was chosen is scored on the test sets, once. What is trained and scored already is not done again, so the
same command goes on where it was ended. `--ablation` trains all of `ABLATION` instead of `configs/medical.toml`.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from recipes.public.commands import call, call_json
from recipes.public.data import EVALUATED, PARTS, Files, lay_out
from recipes.public.scores import Scores

BASE = "minilm"
CONFIGS = Path(__file__).parent / "configs"
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
    """Do what is asked for, print a table and write `NAME-dev.json` or `NAME-test.json`."""
    chosen = _parser().parse_args(arguments)
    place: Path = chosen.out.resolve()
    lay_out(Files(chosen.medquad, chosen.scifact, chosen.pubmed, chosen.pubmedqa, chosen.abstracts), place)
    variants = ABLATION if chosen.ablation else {chosen.name: Variant("medical")}
    part = PARTS[chosen.test]
    scores = Scores(place, part, chosen.precision)
    scores.score(BASE, BASE)
    rows = []
    for name, variant, seed in ((*one, seed) for one in variants.items() for seed in chosen.seeds):
        run = f"{name}-{seed}"
        trained = _train(run, variant, (*chosen.set, f"run.seed={seed}"), place)
        rows += [_row(scores, run, 0.0, f"runs/{run}/model", trained)]
        for share in chosen.base_share:
            rows.append(_row(scores, f"{run}-{share}", share, _average(run, share, place), trained))
        _write(place / f"{'ablation' if chosen.ablation else chosen.name}-{part}.json", rows)


def _parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--medquad", type=Path, required=True, help="MedQuAD's XML, one archive")
    found.add_argument("--scifact", type=Path, required=True, help="SciFact's BEIR folder")
    found.add_argument("--pubmed", type=Path, required=True, help="JSON Lines with title and abstract")
    found.add_argument("--pubmedqa", type=Path, required=True, help="PubMedQA's ori_pqal.json")
    found.add_argument("--abstracts", type=Path, required=True, help="Medical Abstracts' test part, CSV")
    found.add_argument("--out", type=Path, default=Path("runs/public"), help="folder for everything")
    found.add_argument("--base-share", type=float, nargs="*", default=[], help="also average with the base's weights")
    found.add_argument("--seeds", type=int, nargs="+", default=[42], help="a training run for each")
    found.add_argument("--name", default="medical", help="of the runs, where --set makes other ones")
    found.add_argument("--test", action="store_true", help="score on the test sets what the others have chosen")
    found.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="as `medte-train run --set`")
    found.add_argument("--precision", default="fp32", help="of the evaluation; auto is faster and a thousandth off")
    found.add_argument("--ablation", action="store_true", help="train what the ablation table compares")
    return found


def _train(name: str, variant: Variant, changes: Sequence[str], place: Path) -> dict[str, Any]:
    held = (f"data.decontaminate_against={json.dumps(EVALUATED)}", "evaluation.data=data/held")
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
    shutil.rmtree(place / out, ignore_errors=True)  # perhaps of weights that are no more
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
