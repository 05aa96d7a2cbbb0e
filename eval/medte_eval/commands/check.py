"""``medte-eval check``."""

import json
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from es_ingest.commands.options import Es, Json, Quiet
from es_ingest.faults import Exit, reported
from es_ingest.terminal import notes_to_stderr
from medte_eval.commands.options import Fresh, Out, make_folder

if TYPE_CHECKING:
    from medte_eval.checking import Checked, Planned


def check(
    file: Annotated[Path, typer.Argument(help="YAML with the checks.", exists=True, dir_okay=False)],
    es: Es = "auto",
    out: Out = None,
    fresh: Fresh = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run commands and tell whether their scores are what a file says: OK, OKish or FAIL.

    OK is within the tolerance of a check, OKish within one and a half times that, up or down. The same command again
    goes on where one stopped, if it has --out; results there are taken as they are, so --fresh where code has changed.
    """
    console = notes_to_stderr(quiet)
    with reported(interrupted="the indices made for it are removed; results in --out stay"):
        from datasets.utils.logging import disable_progress_bar

        from es_ingest.progress import shown
        from medte_eval.checking import run_checks

        disable_progress_bar()
        planned = _planned(file)
        if out is not None:
            make_folder(out)
        done = list(run_checks(planned, es, partial(shown, console, quiet=quiet), out=out, fresh=fresh))
        if as_json:
            counts = Counter(str(one.to_dict()["status"]) for one in done)
            found = {"checks": [one.to_dict() for one in done], "counts": counts}
            typer.echo(json.dumps(found, ensure_ascii=False, allow_nan=False))
        else:
            _print(done)
        raise typer.Exit(_status(done))


def _planned(file: Path) -> "list[Planned]":
    from medte_eval.checking import Planned
    from medte_eval.checks import CheckFileError, read_checks
    from medte_eval.commands.line import read_line

    planned, wrong = [], []
    try:
        for one in read_checks(file):
            try:
                planned.append(Planned.of(one, read_line(one.command)))
            except CheckFileError as error:
                wrong.append(f"  check {one.name!r}: {error}")
        if wrong:
            raise CheckFileError("\n".join([f"{file} has checks that cannot be run:", *wrong]))
    except CheckFileError as error:
        raise typer.BadParameter(str(error)) from None
    return planned


def _print(done: "Sequence[Checked]") -> None:
    from medte_eval.checking import NOT_RUN
    from medte_eval.report import print_table, score_name

    table = [["", "check", "score", "expected", "measured", "difference", "tolerance"]]
    for one in done:
        its = one.planned.check
        measured = ["-", "-"] if one.measured is None else [f"{one.measured:.4f}", f"{one.difference:+.4f}"]
        expected = [score_name(its.expected.metric), f"{its.expected.value:.4f}"]
        table.append([one.verdict or NOT_RUN, its.name, *expected, *measured, f"{its.tolerance:g}"])
    print_table(table, left=3)
    for one in done:
        if one.message:
            typer.echo(f"{one.planned.check.name}: {one.message}")
    reused = sum(one.reused for one in done)
    if reused:
        typer.echo(f"{reused} of {len(done)} results were there already; --fresh makes them anew")


def _status(done: "Sequence[Checked]") -> int:
    from medte_eval.checks import Verdict
    from medte_eval.session import Failure

    failures = [one.found for one in done if isinstance(one.found, Failure)]
    for one in failures:
        if one.bug is not None:
            raise one.bug
    if any(one.verdict is Verdict.FAIL for one in done):
        return Exit.CHECK
    if failures:
        return Exit.SOME_DEAD if len(failures) < len(done) else failures[0].status
    return Exit.OK
