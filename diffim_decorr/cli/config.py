"""Options from a TOML file."""

from __future__ import annotations

import tomllib
from typing import Any

import click

__all__ = ("config_option",)


def _load(ctx: click.Context, _param: click.Parameter, path: str | None) -> str | None:
    """Make the file's entries the defaults of the command's options."""
    if path is None:
        return None
    from diffim_decorr.errors import InputError

    try:
        with open(path, "rb") as file:
            entries = tomllib.load(file)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a TOML file: {error}") from error
    names = {
        option.lstrip("-"): parameter.name
        for parameter in ctx.command.params
        if isinstance(parameter, click.Option) and parameter.name != "config"
        for option in (*parameter.opts, *parameter.secondary_opts)
        if option.startswith("--")
    }
    defaults: dict[str, Any] = {}
    for key, value in entries.items():
        option = key.replace("_", "-")
        name = names.get(option)
        if name is None:
            raise InputError(f"{path}: there is no option {key!r}")
        if isinstance(value, dict):
            raise InputError(f"{path}: {key} is a table, not a value")
        if option == "constant":
            value = not value
        if isinstance(value, list) and option != "kernel-at":
            value = ",".join(map(str, value))
        defaults[name] = value
    ctx.default_map = {**(ctx.default_map or {}), **defaults}
    return path


# Eager, so that the defaults are in place before the other options are looked at.
config_option = click.option(
    "--config",
    metavar="FILE.toml",
    callback=_load,
    is_eager=True,
    expose_value=False,
    help="Options from a file, named as here; the command line wins.",
)
