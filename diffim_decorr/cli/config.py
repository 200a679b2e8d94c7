"""Options from a TOML file, and ``decorr config``, which writes one."""

from __future__ import annotations

import os
from typing import Any

import click

from diffim_decorr.declare import unknown_name
from diffim_decorr.errors import UsageError

__all__ = ("config", "config_option")


def _load(ctx: click.Context, _param: click.Parameter, path: str | None) -> str | None:
    """Make the file's entries the defaults of the command's options."""
    if path is None:
        return None
    import tomllib  # which most runs have no use for

    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        raise UsageError(f"{path}: is not a regular file")
    try:
        with open(path, "rb") as file:
            entries = tomllib.load(file)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not a TOML file: {error}") from error
    options = {
        option.lstrip("-"): (parameter, option in parameter.secondary_opts)
        for parameter in ctx.command.params
        if isinstance(parameter, click.Option) and parameter.name != "config"
        for option in (*parameter.opts, *parameter.secondary_opts)
        if option.startswith("--")
    }
    defaults: dict[str, Any] = {}
    for key, value in entries.items():
        if key.replace("_", "-") not in options:
            raise UsageError(f"{path}: {unknown_name('option', key, options)}")
        parameter, opposite = options[key.replace("_", "-")]
        if not _fits(parameter, value):
            raise UsageError(f"{path}: {key} = {_shown(value)} is not {_wanted(parameter)}")
        if parameter.multiple and isinstance(value, str):
            value = [value]
        if isinstance(value, list) and parameter.nargs == 1 and not parameter.multiple:
            value = ",".join(value)
        try:
            parameter.process_value(ctx, value)
        except click.BadParameter as error:
            raise UsageError(f"{path}: {key}: {error.message}") from error
        assert parameter.name is not None
        defaults[parameter.name] = not value if opposite else value
    ctx.meta["config"] = path
    ctx.default_map = {**(ctx.default_map or {}), **defaults}
    return path


def _fits(parameter: click.Option, value: Any) -> bool:
    """Whether a value from a file is of an option's type; click would make something of almost everything."""
    if parameter.nargs > 1:
        return isinstance(value, list) and len(value) == parameter.nargs and all(_is_number(v) for v in value)
    if parameter.is_flag:
        return isinstance(value, bool)
    if value and value == getattr(parameter.type, "word", None):  # that for nothing
        return True
    if isinstance(parameter.type, click.types.FloatParamType):
        return _is_number(value)
    if isinstance(parameter.type, click.types.IntParamType):
        return isinstance(value, int) and not isinstance(value, bool)
    if isinstance(value, list):
        return _is_list(parameter) and all(isinstance(item, str) for item in value)
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_list(parameter: click.Option) -> bool:
    return parameter.multiple or (parameter.metavar is not None and "," in parameter.metavar)


def _wanted(parameter: click.Option) -> str:
    if parameter.nargs > 1:
        return f"a list of {parameter.nargs} numbers"
    if parameter.is_flag:
        return "true or false"
    if isinstance(parameter.type, click.types.FloatParamType):
        return "a number"
    if isinstance(parameter.type, click.types.IntParamType):
        return "a whole number"
    return "a string or a list of strings" if _is_list(parameter) else "a string"


def _shown(value: Any) -> str:
    return "a table" if isinstance(value, dict) else repr(value)


# Eager, so that the defaults are in place before the other options are looked at.
config_option = click.option(
    "--config",
    metavar="FILE.toml",
    callback=_load,
    is_eager=True,
    expose_value=False,
    help="Options from a file, named as here; the command line wins.",
)


@click.command()
@click.argument("output", metavar="OUT")
def config(output: str) -> None:
    """Print the options that made OUT, an output of decorr run, as a file for --config."""
    from diffim_decorr.recipe import recipe_of

    click.echo(recipe_of(output).toml(), nl=False)
