"""Searching: ours beside Haystack's own retrievers, by vectors, by words and by both, on the same index.

Without --parts all is measured. An index is made of MedQuAD's passages and of distractors, once for each of
--quantisations; the first is the one whose speed is measured.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.alternating import parser
from bench.search import latency, load, recall, scifact
from bench.search.corpus import DISTRACTORS, Corpus, medquad
from bench.search.indices import make_index
from bench.search.ways import DENSE, STOCK, Retrievers
from es_ingest.cluster import ClusterError, Connection, open_cluster
from es_ingest.records import ReadError
from medte_haystack import Encoder
from medte_haystack.errors import MedTEError

PARTS = ("latency", "load", "soak", "recall", "quality")
_MODEL = "minilm"
_CANDIDATES = {10: 100, 100: 1000}  # by top_k: what the stock retriever takes where it is given none
_TIMED = [(10, 100, 100), (10, None, 100), (100, 1000, 20)]  # top_k, num_candidates, questions a round


def main(arguments: Sequence[str]) -> None:
    """Measure, print, and write what was asked for."""
    options = _parser()
    chosen = options.parse_args(arguments)
    unknown = next((name for name in chosen.parts if name not in PARTS), None)
    if unknown is not None:
        options.error(f"unknown part {unknown!r}; the parts are {', '.join(PARTS)}")
    report: dict[str, Any] = {}
    try:
        encoder = Encoder.load(_MODEL)
        with open_cluster(chosen.es, ephemeral=True, heap="2g") as connection:
            for text in measure(chosen, connection, encoder, report):
                print(text, end="\n\n", flush=True)
                _write(chosen.json, report)  # so far: a long run that is stopped leaves its first parts
    except (ValueError, ReadError, MedTEError, ClusterError) as error:
        options.error(str(error))


def measure(
    chosen: argparse.Namespace, connection: Connection, encoder: Encoder, report: dict[str, Any]
) -> Iterator[str]:
    """Measure part by part: yield what is to be printed, and put the figures into the report."""
    if set(chosen.parts) != {"quality"}:
        yield from _measure_medquad(chosen, connection, encoder, report)
    if "quality" in chosen.parts:
        if chosen.scifact is None:
            yield "quality is not measured: give SciFact's BEIR folder with --scifact DIR"
        else:
            report["quality"] = scifact.measure(connection, chosen.scifact, encoder, chosen.quantisations[0])
            yield f"{chosen.scifact.name}, {chosen.quantisations[0]}\n{scifact.table(report['quality'])}"


def _measure_medquad(
    chosen: argparse.Namespace, connection: Connection, encoder: Encoder, report: dict[str, Any]
) -> Iterator[str]:
    corpus = medquad(
        chosen.medquad, encoder, questions=chosen.questions, distractors=chosen.distractors, dim=chosen.dim
    )
    report |= _conditions(chosen, connection, corpus)
    yield _told(report)
    report["recall"] = []
    for number, quantisation in enumerate(chosen.quantisations):
        if number and "recall" not in chosen.parts:
            break
        with connection.client(request_timeout=600) as client:
            index, segments = make_index(client, corpus.passages, quantisation)
        report["segments"][quantisation] = segments
        if not number:
            yield from _speed(chosen, connection, index, corpus, report)
        if "recall" in chosen.parts:
            found = Retrievers.over(connection, index, corpus)
            rows = recall.recall_rows(found, quantisation, list(_CANDIDATES))
            found.close()
            report["recall"] += rows
            yield f"Defaults against exact search, {segments} segments\n{recall.table(rows)}"


def _speed(
    chosen: argparse.Namespace, connection: Connection, index: str, corpus: Corpus, report: dict[str, Any]
) -> Iterator[str]:
    what = f"{chosen.quantisations[0]}, {report['segments'][chosen.quantisations[0]]} segments"
    if "latency" in chosen.parts:
        report["latency"] = {}
        for top_k, candidates, questions in _TIMED:
            found = Retrievers.over(connection, index, corpus, candidates)
            timed = latency.latencies(found.ways(top_k), min(questions, len(corpus.questions)), chosen.rounds)
            found.close()
            title = f"top_k {top_k}, num_candidates {candidates or 'by default'}"
            report["latency"][title] = latency.rows(timed, STOCK, DENSE)
            yield f"One search at a time, {title}, {what}\n{latency.table(report['latency'][title])}"
    found = Retrievers.over(connection, index, corpus, _CANDIDATES[10])
    if "load" in chosen.parts:
        report["load"] = load.throughput(found, chosen.searches, chosen.rounds)
        yield f"Searches a second, top_k 10, {what}\n{load.table(report['load'])}"
    if "soak" in chosen.parts:
        report["soak"] = load.soak(found, chosen.soak)
        yield f"{chosen.soak:,} searches, {load.AT_ONCE} at once, by vectors and by both: {report['soak']['ended']}"
    found.close()


def _parser() -> argparse.ArgumentParser:
    found = parser(__doc__)
    found.add_argument("--parts", type=_names, default=list(PARTS), help=f"of {','.join(PARTS)}")
    found.add_argument("--medquad", type=Path, help="a full MedQuAD archive or folder instead of the shipped sample")
    found.add_argument("--distractors", type=int, default=200_000, help="passages made of MedQuAD's")
    found.add_argument("--dim", type=int, default=768, help="dimensions; minilm's 384 are turned into more")
    found.add_argument("--quantisations", type=_names, default=["int8", "bbq"], help="vector index types")
    found.add_argument("--questions", type=int, default=1000, help="questions of MedQuAD that are asked")
    found.add_argument("--searches", type=int, default=2000, help="of a round with many at once")
    found.add_argument("--soak", type=int, default=20_000, help="searches in which no error may occur")
    found.add_argument("--scifact", type=Path, help="SciFact, or any other data set, as a BEIR folder")
    found.add_argument("--es", default="auto", help="auto, docker, local or a URL, where indices stay for the next run")
    return found


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _conditions(chosen: argparse.Namespace, connection: Connection, corpus: Corpus) -> dict[str, Any]:
    return {
        "server_version": connection.version,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "passages": len(corpus.passages.chunks) - chosen.distractors,
        "distractors": chosen.distractors,
        "distractors_are": DISTRACTORS,
        "dim": chosen.dim,
        "vectors_are": f"{_MODEL}'s"
        + ("" if chosen.dim == corpus.model_dim else f" {corpus.model_dim}, turned into {chosen.dim} dimensions"),
        "questions": len(corpus.questions),
        "rounds": chosen.rounds,
        "segments": {},
    }


def _told(report: dict[str, Any]) -> str:
    return (
        f"{report['passages']:,} passages of MedQuAD and {report['distractors']:,} distractors,"
        f" {report['dim']}-d vectors ({report['vectors_are']}), {report['questions']} questions,"
        f" Elasticsearch {report['server_version']}, {report['cores']} cores\n({DISTRACTORS})"
    )


def _write(path: Path | None, report: dict[str, Any]) -> None:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(report, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
