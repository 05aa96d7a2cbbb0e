"""``medte-eval compare``."""

import json
from pathlib import Path
from typing import Annotated

import typer

from es_ingest.commands.options import Json
from es_ingest.faults import reported

_Run = Annotated[
    Path, typer.Argument(help="A result, *.run.json, or a folder that `medte-eval run --out` filled.", exists=True)
]


def compare(
    run_a: _Run,
    run_b: _Run,
    system_a: Annotated[
        str | None, typer.Option(help="Where RUN_A is a folder, take the results of this system.")
    ] = None,
    system_b: Annotated[str | None, typer.Option(help="The same for RUN_B.")] = None,
    as_json: Json = False,
) -> None:
    """Tell whether two results differ by more than chance, task by task.

    A randomisation test and a bootstrap interval, both paired over the same queries (nDCG@10), texts (share of right
    answers) or pairs (the main score of all together). Results of different data are refused.
    """
    with reported():
        from medte_eval.comparison import LEVEL, RESAMPLES, SEED, compare_results, find_results
        from medte_eval.report import print_comparisons
        from medte_eval.results import ResultError

        try:
            first, second = find_results(run_a, system_a), find_results(run_b, system_b)
            if run_a.is_file() and run_b.is_file():  # whatever they are called, it is their data that counts
                second = dict(zip(first, second.values(), strict=True))
            both = [name for name in first if name in second]
            if not both:
                raise ResultError(
                    f"{run_a} and {run_b} have no task in common: {', '.join(first)}; {', '.join(second)}"
                )
            found = [compare_results(first[name], second[name]) for name in both]
        except ResultError as error:
            raise typer.BadParameter(str(error)) from None
        alone = sorted(first.keys() ^ second.keys())
        if as_json:
            about = {"level": LEVEL, "resamples": RESAMPLES, "seed": SEED}
            rows = [one.to_dict() for one in found]
            typer.echo(json.dumps({"comparisons": rows, "not_compared": alone, **about}, allow_nan=False))
            return
        print_comparisons(found)
        if alone:
            typer.echo(f"not in both, so not compared: {', '.join(alone)}")
