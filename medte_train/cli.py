"""The command `medte-train`. What a subcommand needs is imported when it runs: help must not wait for torch."""

import typer

from es_ingest.terminal import run_command
from medte_train.commands import average, decontaminate, mine, pairs, recipes, run, synthesize

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a traceback with local variables would show document text
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train medical embedding models on pairs of texts.",
    epilog="Exit status: 0 done, 1 a bug, 2 wrong usage, 4 model, 5 server, 7 source, 8 a file cannot be written,"
    " 130 interrupted, 143 terminated.",
)
app.command()(pairs.pairs)
app.command()(decontaminate.decontaminate)
app.command()(mine.mine)
app.command()(synthesize.synthesize)
app.command()(run.run)
app.command()(average.average)
app.command()(recipes.recipes)


def main() -> None:
    """Run the command."""
    run_command(app)


if __name__ == "__main__":
    main()
