"""The command `es-ingest`: its subcommands together."""

import sys

try:
    from typing import Annotated

    import typer

    from es_ingest.commands import completion, plan, rebuild, replay, rollback, run, search, server, tune, verify
    from es_ingest.commands import options as given
    from es_ingest.commands.origins import Commands
    from es_ingest.faults import reported
    from es_ingest.terminal import notes_to_stderr, run_command
except KeyboardInterrupt:  # nothing has begun
    sys.exit(130)

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,  # see completion.scripts
    pretty_exceptions_enable=False,  # a traceback with local variables would show document text
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "ES_INGEST"},
    help="Embed clinical corpora and write them into Elasticsearch.",
    epilog="Exit status: 0 all written, 1 a bug, 2 wrong usage, 3 some records malformed or refused, 4 model,"
    " 5 server, 6 index, 7 source, 8 ledger or dead letters, 9 Ray's cluster, 130 interrupted, 143 terminated.",
)
app.callback()(completion.scripts)
app.command()(run.run)
app.command()(plan.plan)
app.command()(replay.replay)
app.command()(search.search)
app.command()(verify.verify)
app.command()(rollback.rollback)
app.command()(rebuild.rebuild)
app.command()(tune.tune)
app.add_typer(server.app, name="server")


@app.command()
def formats() -> None:
    """List the corpus formats."""
    from es_ingest.readers import formats as known

    for reader in known():
        typer.echo(f"{reader.name:16}{reader.description}\n{'':16}source: {reader.source}")


@app.command()
def demo(
    es: given.Es = "auto",
    model: Annotated[
        str, typer.Option(help="Model; minilm needs no hub.", autocompletion=completion.models)
    ] = "minilm",
    index: Annotated[str, typer.Option(help="Index to write to.")] = "medquad-demo",
    json: given.Json = False,
    quiet: given.Quiet = False,
) -> None:
    """Ingest the shipped MedQuAD sample into a real Elasticsearch, search it, and check it on its own questions."""
    console = notes_to_stderr(quiet)
    with reported():
        from es_ingest.demo import run_demo

        run_demo(console, es=es, model=model, index=index, as_json=json, quiet=quiet)


def main() -> None:
    """Run the command."""
    run_command(app)


if __name__ == "__main__":
    main()
