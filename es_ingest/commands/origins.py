"""Where a command's values come from, for messages: who has given no option is not to be told of one alone."""

import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from typer._click.core import Parameter


class Commands(TyperGroup):
    """Commands whose errors of usage say where a bad value was set, if not on the command line."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """Run the command that is asked for."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            places = "; ".join(_places(error))
            error.message += f" ({places})" if places else ""
            raise


def _places(error: typer.BadParameter) -> Iterator[str]:
    """Say where the option that an error is about was set; of an error about several, each that it names."""
    context, meant = error.ctx, error.param
    if context is None:
        return
    for one in context.command.params if meant is None else [meant]:
        source = context.get_parameter_source(str(one.name))
        name = max(one.opts, key=len)
        if source is None or (meant is None and not _is_named(name, error.message)):
            continue
        if source.name == "ENVIRONMENT":
            yield f"{name} is set by the environment variable {_variable(one, context.auto_envvar_prefix)}"
        elif source.name == "DEFAULT_MAP":
            yield f"{name} is set in {context.params.get('config')}, [{context.command.name}]"


def _is_named(option: str, message: str) -> bool:
    words = option.lstrip("-").replace("-", "[ -]")
    return re.search(rf"\b{words}\b", message) is not None


def _variable(one: "Parameter", prefix: str | None) -> str:
    own = [one.envvar] if isinstance(one.envvar, str) else list(one.envvar or ())
    return next((name for name in own if os.environ.get(name)), f"{prefix}_{str(one.name).upper()}")
