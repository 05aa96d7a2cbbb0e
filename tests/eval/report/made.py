"""Results as `medte-eval run --out` writes them, without running anything."""

import itertools
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medte_eval.items import trec_qrels, trec_run
from medte_eval.results import RUN_SUFFIX, file_stem, key_of

MINILM = {
    "name": "sentence-transformers/all-MiniLM-L6-v2",
    "revision": "8b3219a92973c328a8e22fadcfa821b5dc75636a",
    "weights_sha256": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "dim": 384,
    "max_tokens": 256,
    "precision": "fp32",
}
INT8 = {"type": "int8_hnsw", "m": 16, "ef_construction": 100}
MAIN = {
    "Retrieval": "ndcg_at_10",
    "Classification": "f1",
    "Clustering": "v_measure",
    "PairClassification": "similarity_f1",
}
ENCODER: Mapping[str, Any] = {"name": "encoder", "server_version": None}
DENSE: Mapping[str, Any] = {"name": "dense", "server_version": "9.5.3", "index_options": INT8, "chunk_tokens": None}
BM25: Mapping[str, Any] = {"name": "bm25", "server_version": "9.5.3", "index_options": None, "chunk_tokens": None}
_moments = itertools.count(1_700_000_000)


def make_result(
    folder: Path,
    task: str,
    score: float | None = 0.5,
    /,
    *,
    kind: str = "Retrieval",
    system: Mapping[str, Any] = ENCODER,
    model: Mapping[str, Any] | None = None,
    data: str = "a" * 64,
    queries: Sequence[float] = (),
    places: Sequence[tuple[str, str]] = (("test", "default"),),
    prefix: str = "q",
    **more: Any,
) -> Path:
    """Write a result; one that is written later is newer.

    :param score: Of the task; None leaves it out, as a NaN is.
    :param queries: nDCG@10 of each; the relevant document of the i-th is found at rank i + 1, or not for 0. Of pairs
        how similar each is; every second one is positive.
    :param places: Splits and subsets.
    :param more: Replaces what else is in the file; keys of ``task`` are put into that.
    """
    folder.mkdir(parents=True, exist_ok=True)
    about = {
        "name": task,
        "description": f"About {task}.",
        "type": kind,
        "main_score": MAIN.get(kind, "main"),
        "data_sha256": data,
        "sampled_queries": None,
        "seed": 42,
        "top_k": 100,
        **more.pop("task", {}),
    }
    model = (MINILM if system["name"] != "bm25" else {"name": None}) if model is None else model
    stem = file_stem(about, system, model)
    files = {"mteb": f"{stem}.json"}
    scores = {} if score is None else {about["main_score"]: score}
    rows: dict[str, list[dict[str, Any]]] = {}
    for split, subset in places:
        rows.setdefault(split, []).append({"hf_subset": subset, "main_score": score})
    (folder / files["mteb"]).write_text(json.dumps({"task_name": task, "scores": rows}))
    if queries:
        items = [
            {
                "id": f"{prefix}{number}",
                "ndcg_at_10": one,
                "label": number % 2,
                "similarity": one,
                "mrr_at_10": one,
                "recall_at_10": float(one > 0),
            }
            for number, one in enumerate(queries)
        ]
        files["items"] = f"{stem}.items.jsonl"
        (folder / files["items"]).write_text("".join(json.dumps(row) + "\n" for row in items))
    if queries and kind == "Retrieval":
        files |= {"run": f"{stem}.trec", "qrels": f"{stem}.qrels"}
        run = {
            f"{prefix}{number}": {
                **{f"d{other}": 1 - other / 100 for other in range(12) if one or other != number},
                **({f"d{number}": 1.5 - number / 100} if one == 1 else {}),
            }
            for number, one in enumerate(queries)
        }
        (folder / files["run"]).write_text("".join(trec_run(run, stem)))
        qrels = {f"{prefix}{number}": {f"d{number}": 1, "other": 0} for number in range(len(queries))}
        (folder / files["qrels"]).write_text("".join(trec_qrels(qrels)))
    found = {
        "key": key_of(about, system, model),
        "task": about,
        "system": dict(system),
        "model": dict(model),
        "scores": scores,
        "counts": {"queries": len(queries), "documents": 100, "chunks": 100, "truncated": 0, "left_out": 0},
        "seconds": {"indexing": 1.5, "searching": 0.5},
        "latency": None,
        "notes": [],
        "versions": {"medte": "0.1.0"},
        "files": files,
        **more,
    }
    path = folder / f"{stem}{RUN_SUFFIX}"
    path.write_text(json.dumps(found))
    os.utime(path, (moment := next(_moments), moment))
    return path


def timed(p50: float, what: str = "encoding and search") -> dict[str, Any]:
    """Latency as a result has it."""
    return {
        "timed": what,
        "queries": 10,
        "top_k": 100,
        "p50_ms": p50,
        "p99_ms": 2 * p50,
        "queries_per_second": 1000 / p50,
    }
