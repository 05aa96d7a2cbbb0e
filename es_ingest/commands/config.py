"""Options from a TOML file: a table for each command, keys spelled as its options are, with - or _."""

import tomllib
from pathlib import Path
from typing import Any, cast

import typer
from typer.core import TyperCommand

_SECRETS = ("password", "username", "api_key", "secret")


def load_config(context: typer.Context, path: Path | None) -> Path | None:
    """Take a command's defaults from a file; the callback of ``--config``.

    :raises BadParameter: If the file cannot be read, is not TOML, or names what is no option.
    """
    if path is not None:
        context.default_map = {**(context.default_map or {}), **_defaults(context, path)}
    return path


def _defaults(context: typer.Context, path: Path) -> dict[str, Any]:
    command = cast(TyperCommand, context.command)
    table = _table(path, context)
    options = {parameter.name: parameter for parameter in command.params if parameter.name != "config"}
    names = {flag.lstrip("-").replace("-", "_"): name for name, one in options.items() for flag in one.opts}
    found: dict[str, Any] = {}
    for key, value in table.items():
        name = names.get(key.replace("-", "_"))
        if name is None:
            if any(secret in key.lower().replace("-", "_") for secret in _SECRETS):
                raise typer.BadParameter(
                    f"{path} holds {key}; give secrets by ES_API_KEY, or ES_USERNAME and ES_PASSWORD"
                )
            known = ", ".join(sorted(names))
            raise typer.BadParameter(f"{path} has {key!r} in [{command.name}], which is no option; there are {known}")
        if isinstance(value, dict):
            raise typer.BadParameter(f"{path} has a table for {key!r} in [{command.name}]; give a value")
        several = options[name].multiple or options[name].nargs == -1
        if isinstance(value, list) and not several:
            raise typer.BadParameter(f"{path} has a list for {key!r} in [{command.name}]; give a single value")
        if name == "es" and "@" in str(value):
            raise typer.BadParameter(f"{path} holds credentials in {key}; give them by ES_USERNAME and ES_PASSWORD")
        found[name] = [value] if several and not isinstance(value, list) else value
    return found


def _table(path: Path, context: typer.Context) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    commands = getattr(context.find_root().command, "commands", {})
    for name in content.keys() - commands.keys():
        if isinstance(content[name], dict):
            known = ", ".join(commands)
            raise typer.BadParameter(f"{path} has a table [{name}], which is no command; there are {known}")
    loose = [key for key, value in content.items() if not isinstance(value, dict)]
    if loose:
        raise typer.BadParameter(f"{path} has {loose[0]!r} outside of a table; put it under [{context.command.name}]")
    table: dict[str, Any] = content.get(str(context.command.name), {})
    return table
