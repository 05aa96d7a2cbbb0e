"""``medte-train recipes``."""

from typing import Annotated

import typer


def recipes(
    name: Annotated[str | None, typer.Argument(help="Print this one, to start a file of your own from.")] = None,
) -> None:
    """List the recipes that come with the package, or print one."""
    from medte_train.recipes import recipes as shipped

    found = shipped()
    if name is None:
        for one, path in found.items():
            typer.echo(f"{one:10}{path.read_text('utf-8').splitlines()[0].removeprefix('# ')}")
    elif name in found:
        typer.echo(found[name].read_text("utf-8"), nl=False)
    else:
        raise typer.BadParameter(f"recipe {name!r} is unknown; there are {', '.join(found)}")
