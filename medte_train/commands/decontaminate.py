"""``medte-train decontaminate``."""

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from es_ingest.commands.options import Json, Quiet
from es_ingest.faults import reported
from es_ingest.terminal import notes_to_stderr
from medte_eval.commands.options import Data, DataDir
from medte_train.commands.options import OutFolder, Pairs


def decontaminate(
    pairs: Pairs,
    against: Annotated[
        list[str],
        typer.Option(
            help="Tasks as `medte-eval run --tasks` has them (MedTEB for all that are built, beir:FOLDER, mteb's"
            " names), and files of texts (.txt, JSON Lines, or what `es-ingest` reads), separated by commas; may be"
            " given several times."
        ),
    ],
    out: OutFolder,
    threshold: Annotated[
        float, typer.Option(help="Least share of two texts' word n-grams (Jaccard) for nearly the same, above 0.")
    ] = 0.5,
    exact_words: Annotated[
        int,
        typer.Option(
            min=1, help="Words from which one equal text of a pair suffices; shorter ones must both be equal."
        ),
    ] = 3,
    near_words: Annotated[int, typer.Option(min=1, help="Words from which texts are compared nearly.")] = 20,
    data: Data = None,
    data_dir: DataDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Take out training pairs that occur in evaluation data: by ids of their sources, exactly, or nearly."""
    notes_to_stderr(quiet)
    if not 0 < threshold < 1:
        raise typer.BadParameter(f"--threshold is {threshold:g}; it must lie between 0 and 1, and be neither")
    with reported(interrupted="files that were complete stay"):
        from medte_eval.tasks import UnknownTaskError, task_names
        from medte_train.decontamination import REMOVED, REPORT, Decontamination
        from medte_train.decontamination import decontaminate as clean

        names = [name for text in against for name in task_names(text)]
        try:
            cleaned = Decontamination.against_tasks(
                names,
                data=data,
                data_dir=data_dir,
                threshold=threshold,
                exact_words=exact_words,
                near_words=near_words,
            )
        except UnknownTaskError as error:
            raise typer.BadParameter(str(error)) from None
        clean(cleaned, pairs, out)
        report = cleaned.report()
        if as_json:
            typer.echo(json.dumps(report, ensure_ascii=False))
            return
        from medte_eval.report import print_table

        print_table(list(_rows(report["sources"])))
        typer.echo(f"which pairs were removed: {out / REMOVED}; the report: {out / REPORT}")


def _rows(sources: Mapping[str, Any]) -> Iterator[list[str]]:
    """Give a line for each source, and one for each task that it has pairs of."""
    from medte_haystack.training.overlap import KINDS

    yield ["source", "task", "pairs", "kept", "removed", *KINDS, "negatives", "short, kept"]
    for source, found in sources.items():
        kinds = [f"{found['kinds'].get(kind, 0):,}" for kind in KINDS]
        counts = [f"{found[name]:,}" for name in ("pairs", "kept", "removed")]
        yield [source, "", *counts, *kinds, f"{found['negatives_removed']:,}", f"{found['short_kept']:,}"]
        for task, its in found["tasks"].items():
            yield ["", task, "", "", f"{sum(its.values()):,}", *(f"{its.get(kind, 0):,}" for kind in KINDS), "", ""]
