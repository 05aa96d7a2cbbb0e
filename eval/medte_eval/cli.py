"""The command `medte-eval`. What a subcommand needs is imported when it runs: help must not wait for mteb."""

import importlib.util

import typer

from es_ingest.faults import Exit
from es_ingest.terminal import run_command
from medte_eval.commands import build, check, compare, report, run, share, tasks, tune
from medte_eval.commands.group import Commands

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a traceback with local variables would show document text
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Evaluate embedding models, and Elasticsearch searches with them, on medical tasks.",
    epilog="Exit status: 0 done, 1 a bug, 2 wrong usage, 3 some tasks failed and the others are done, 4 model,"
    " 5 server, 6 index, 7 source, 10 a score is not what `check` expects, 130 interrupted.",
)
app.command()(run.run)
app.command()(tasks.tasks)
app.command()(build.build)
app.command()(share.push)
app.command()(share.pull)
app.command()(compare.compare)
app.command()(report.report)
app.command()(check.check)
app.command()(tune.tune)


def main() -> None:
    """Run the command."""
    if importlib.util.find_spec("mteb") is None:
        typer.echo("error: medte-eval needs mteb; install it with: pip install 'medte[eval]'", err=True)
        raise SystemExit(Exit.USAGE)
    run_command(app)


if __name__ == "__main__":
    main()
