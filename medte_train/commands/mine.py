"""``medte-train mine``."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Annotated, Any

import typer

from es_ingest.commands.options import Device, Es, Json, MaxTokens, Model, Precision, Quiet, check_quantisation
from es_ingest.faults import reported
from es_ingest.terminal import notes_to_stderr
from medte_train.commands.options import OutFolder, Pairs

_SEARCHES = ("exact", "elasticsearch")


def mine(
    pairs: Pairs,
    out: OutFolder,
    model: Model = None,
    num_negatives: Annotated[int, typer.Option(help="Most negatives of a pair.")] = 5,
    range_min: Annotated[int, typer.Option(help="Nearest texts that are passed over.")] = 0,
    range_max: Annotated[int, typer.Option(help="Rank behind which no text is taken.")] = 100,
    relative_margin: Annotated[
        float,
        typer.Option(
            help="Share of the positive's cosine by which a negative's must be below it; what is nearer may be a"
            " positive that nobody noted."
        ),
    ] = 0.05,
    absolute_margin: Annotated[float, typer.Option(help="Cosine by which it must be below it as well.")] = 0.0,
    near: Annotated[
        float,
        typer.Option(
            help="Share of word n-grams (Jaccard) from which a text is taken for the anchor, a positive of it, or"
            " another negative."
        ),
    ] = 0.8,
    sampling: Annotated[str, typer.Option(help="top: the nearest; random: a draw among what is left.")] = "top",
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 42,
    across: Annotated[
        bool, typer.Option("--across", help="Take negatives from all sources instead of the pair's own.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Drop negatives that pairs have already; else new ones come behind them.")
    ] = False,
    search: Annotated[
        str,
        typer.Option(
            help="exact: compare with all texts, in memory; elasticsearch: kNN in an index made for it, for more texts"
            " than that takes."
        ),
    ] = "exact",
    es: Es = "auto",
    quantisation: Annotated[
        str, typer.Option(help="Of that index: hnsw, int8, int4, bbq, flat. Cosines are the floats' in any case.")
    ] = "int8",
    device: Device = None,
    precision: Precision = "auto",
    max_tokens: MaxTokens = None,
    keep_vectors: Annotated[
        bool, typer.Option("--keep-vectors", help="Leave vectors and neighbours in --out for another run.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Add hard negatives to pairs: texts of others that a model finds near. The same again goes on where it stopped."""
    console = notes_to_stderr(quiet)
    check_quantisation(quantisation)
    for name, value, known in (("search", search, _SEARCHES), ("sampling", sampling, ("top", "random"))):
        if value not in known:
            raise typer.BadParameter(f"{name} {value!r} is unknown; there are {' and '.join(known)}")
    with reported(interrupted="vectors stay in --out, and the same command goes on"), ExitStack() as stack:
        from es_ingest.progress import shown
        from medte_haystack.encoder import DEFAULT_MODEL, Encoder
        from medte_haystack.index import Fingerprint
        from medte_haystack.training.negatives import NegativeOptions
        from medte_train.mining.mine import REPORT, Miner
        from medte_train.mining.search import ElasticsearchSearch, ExactSearch, Search
        from medte_train.pair_files import pair_paths, targets_in

        options = NegativeOptions(
            num_negatives,
            range_min,
            range_max,
            relative_margin,
            absolute_margin,
            "top" if sampling == "top" else "random",
            seed,
            near,
        )
        targets_in(pair_paths(pairs), out)  # what cannot be read or written is told before a model is loaded
        client = None
        if search == "elasticsearch":
            from es_ingest.cluster import open_cluster

            client = stack.enter_context(stack.enter_context(open_cluster(es)).client())
        encoder = Encoder.load(model or DEFAULT_MODEL, device=device, precision=precision, max_tokens=max_tokens)
        how: Search = ExactSearch(encoder.device.partition(",")[0] if encoder.device.startswith("cuda") else "cpu")
        if client is not None:
            how = ElasticsearchSearch(client, Fingerprint.of_encoder(encoder), quantisation)
        miner = Miner(encoder, how, options, partial(shown, console, quiet=quiet), across=across, fresh=fresh)
        report = miner.mine(pairs, out, keep_vectors=keep_vectors)
        if as_json:
            typer.echo(json.dumps(report, ensure_ascii=False))
            return
        from medte_eval.report import print_table

        print_table(list(_rows(report["sources"])), left=1)
        for source, found in report["sources"].items():
            for reason, number in found["dropped"].items():
                typer.echo(f"{source}: {number:,} texts passed over: {reason}")
        typer.echo(f"the report: {out / REPORT}")


def _rows(sources: Mapping[str, Any]) -> Iterator[list[str]]:
    counts = ("pairs", "texts", "with_negatives", "complete", "negatives")
    yield ["source", "pairs", "texts", "with negatives", "with all", "negatives", "cosine positive", "negative"]
    for source, found in sources.items():
        means = [f"{found[f'mean_{kind}_cosine']:.3f}" for kind in ("positive", "negative")]
        yield [source, *(f"{found[name]:,}" for name in counts), *means]
