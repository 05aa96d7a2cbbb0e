"""The main job on real input: MedQuAD's sample into Elasticsearch, searched, and checked on its own questions."""

import json
import random
from collections.abc import Sequence

import typer
from rich.console import Console

from es_ingest.cluster import open_cluster
from es_ingest.data import medquad_sample
from es_ingest.faults import Exit
from es_ingest.ingest import Ingester
from es_ingest.progress import shown
from es_ingest.readers import read
from es_ingest.records import Record
from es_ingest.report import print_hits, print_summary
from es_ingest.search import Hit, Searcher
from es_ingest.stream.summary import Summary
from medte_haystack.encoder import Encoder

QUERIES = (
    "my hands and feet keep growing although I am an adult",
    "trouble breathing at night and loud snoring",
    "how is high blood pressure treated without drugs",
)
_CHECKED = 200
_LEAST_IN_TEN = 0.8  # share of own answers in the first 10; minilm reaches 0.97
_SEED = 42


def run_demo(console: Console, *, es: str, model: str, index: str, as_json: bool, quiet: bool) -> None:
    """Run the demo and print what it found.

    :param console: For progress, on stderr.
    :param es: Where Elasticsearch is.
    :param model: Model to use.
    :param index: Index to write to; it stays afterwards.
    :param as_json: Print one JSON object instead.
    :param quiet: Show no progress.
    """
    sample = [str(medquad_sample())]
    records = [item for item in read(sample, "medquad") if isinstance(item, Record)]
    encoder = Encoder.load(model)
    with open_cluster(es) as connection, connection.client() as client:
        if not as_json:
            typer.echo(
                f"MedQuAD sample: {len(records):,} answers of NIDDK, NINDS and NHLBI (CC BY 4.0, Ben Abacha and"
                f" Demner-Fushman 2019)\nElasticsearch {connection.version}: {connection.reason}"
            )
        with shown(console, lambda: records, quiet=quiet) as progress:
            summary = Ingester(client, index, encoder).run(records, progress)
        searcher = Searcher(client, index, encoder)
        found = {query: searcher.search(query, top_k=3) for query in QUERIES}
        first, in_ten, asked = own_answer_shares(searcher, records)
    if as_json:
        result = {**summary.to_dict(), "questions": asked, "own_answer_first": first, "own_answer_in_10": in_ten}
        typer.echo(json.dumps(result, ensure_ascii=False))
        _judge(summary, in_ten)
        return
    print_summary(summary, as_json=False)
    for query, hits in found.items():
        typer.echo(f"\n> {query}")
        print_hits(index, query, hits, as_json=False)
    typer.echo(
        f"\n{asked} of the sample's own questions: their own answer is first for {first:.1%},"
        f" in the first 10 for {in_ten:.1%}\n\n"
        f'Search on:  .venv/bin/es-ingest search {index} "what causes kidney stones"'
    )
    _judge(summary, in_ten)


def _judge(summary: Summary, in_ten: float) -> None:
    if summary.failed:
        raise typer.Exit(Exit.SOME_DEAD)
    if in_ten < _LEAST_IN_TEN:
        typer.echo(f"error: only {in_ten:.1%} are in the first 10; {_LEAST_IN_TEN:.0%} were expected", err=True)
        raise typer.Exit(Exit.BUG)


def own_answer_shares(searcher: Searcher, records: Sequence[Record]) -> tuple[float, float, int]:
    """Ask random questions of the corpus and look for their own answers.

    :returns: Share whose own answer is first, share whose own answer is in the first 10, number of questions.
    """
    asked = [record for record in records if record.meta.get("question")]
    asked = random.Random(_SEED).sample(asked, min(_CHECKED, len(asked)))  # noqa: S311  a repeatable sample
    results = searcher.search_many([record.meta["question"] for record in asked], top_k=10)
    ranks = [_rank(record.id, hits) for record, hits in zip(asked, results, strict=True)]
    return sum(rank == 1 for rank in ranks) / len(ranks), sum(rank > 0 for rank in ranks) / len(ranks), len(ranks)


def _rank(document_id: str, hits: Sequence[Hit]) -> int:
    """Return the place of a document, from 1; 0 if it is not among the hits."""
    return next((rank for rank, hit in enumerate(hits, start=1) if hit.document_id == document_id), 0)
