"""Options from a TOML file, and ``decorr config``, which writes one."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping
from importlib import import_module
from textwrap import wrap
from typing import Any

import click
from click.types import FloatParamType, IntParamType

from diffim_decorr.cli.commands import Command, Option, argument, option, ours
from diffim_decorr.cli.failures import Telling
from diffim_decorr.cli.options import chosen, options_of
from diffim_decorr.declare import by_section, unknown_name
from diffim_decorr.errors import UsageError
from diffim_decorr.io.toml_files import read_toml
from diffim_decorr.options import WARP, OutputOptions

__all__ = ("CONFIGURED", "config", "config_option")

#: Commands that take options from a file, each from the table of its name.
CONFIGURED = ("run", "batch", "apply", "snr", "measure")


def _load(ctx: click.Context, _param: click.Parameter, path: str | None) -> str | None:
    """Make the file's entries the defaults of the command's options."""
    if path is None:
        return None
    entries = read_toml(path, UsageError)
    options = {
        option.lstrip("-"): (parameter, option in parameter.secondary_opts)
        for parameter in ctx.command.params
        if isinstance(parameter, click.Option) and parameter.name != "config"
        for option in (*parameter.opts, *parameter.secondary_opts)
        if option.startswith("--")
    }
    defaults: dict[str, Any] = {}
    for where, key, value in _entries(entries, path, ctx, options):
        if key.replace("_", "-") not in options:
            raise UsageError(f"{path}: {where}{unknown_name('option', key, options)}")
        parameter, opposite = options[key.replace("_", "-")]
        if not _fits(parameter, value):
            raise UsageError(f"{path}: {where}{key} = {_shown(value)} is not {_wanted(parameter)}")
        value = _placed(parameter, value, os.path.dirname(path))
        if parameter.multiple and isinstance(value, str):
            value = [value]
        if isinstance(value, list) and parameter.nargs == 1 and not parameter.multiple:
            value = ",".join(value)
        try:
            parameter.process_value(ctx, value)
        except click.BadParameter as error:
            raise UsageError(f"{path}: {where}{key}: {error.message}") from error
        assert parameter.name is not None
        defaults[parameter.name] = not value if opposite else value
    ctx.meta["config"] = path
    if defaults.get("json") or defaults.get("as_json"):
        Telling.current().asked = True
    ctx.default_map = {**(ctx.default_map or {}), **defaults}
    return path


def _entries(
    entries: Mapping[str, Any], path: str, ctx: click.Context, options: Collection[str]
) -> Iterator[tuple[str, str, Any]]:
    """What a file has for a command, plain and then in its table: where, by which key, and the value."""
    own = ctx.info_name
    for key, value in entries.items():
        if not isinstance(value, dict):
            yield "", key, value
        elif key not in CONFIGURED:
            if key.replace("_", "-") in options:
                yield "", key, value  # which is then refused for its type
            raise UsageError(f"{path}: {unknown_name('table', key, CONFIGURED)}")
    if own in CONFIGURED and isinstance(entries.get(own), dict):
        for key, value in entries[own].items():
            yield f"[{own}] ", key, value


def _placed(parameter: click.Option, value: Any, folder: str) -> Any:
    """The value with names of files as seen from here, which the file has as seen from its folder."""
    if isinstance(value, list):
        return [_placed(parameter, item, folder) for item in value]
    if not (folder and isinstance(value, str) and isinstance(parameter, Option)):
        return value
    if parameter.path:
        return ",".join(os.path.join(folder, name) for name in value.split(","))
    if parameter.metavar == WARP:
        kind, _, native = value.partition(":")
        return f"{kind}:{os.path.join(folder, native)}"
    return value


def _fits(parameter: click.Option, value: Any) -> bool:
    """Whether a value from a file is of an option's type; click would make something of almost everything."""
    if parameter.nargs > 1:
        return isinstance(value, list) and len(value) == parameter.nargs and all(_is_number(v) for v in value)
    if parameter.is_flag:
        return isinstance(value, bool)
    if value and value == getattr(parameter.type, "word", None):  # that for nothing
        return True
    if isinstance(parameter.type, FloatParamType):
        return _is_number(value)
    if isinstance(parameter.type, IntParamType):
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
    if isinstance(parameter.type, FloatParamType):
        return "a number"
    if isinstance(parameter.type, IntParamType):
        return "a whole number"
    return "a string or a list of strings" if _is_list(parameter) else "a string"


def _shown(value: Any) -> str:
    return "a table" if isinstance(value, dict) else repr(value)


# Eager, so that the defaults are in place before the other options are looked at.
config_option = option(
    "--config",
    section="General",
    path=True,
    metavar="FILE.toml",
    callback=_load,
    is_eager=True,
    expose_value=False,
    help="Options from a file, named as here, plain or in a table [COMMAND]; the command line wins. Names of files are "
    "as seen from the file's folder. decorr config --init writes one.",
)


@click.command(
    cls=Command,
    page="howto/config.md",
    examples=[
        ("decorr config --init -o decorr.toml", "every option, to be chosen from"),
        ("decorr config diff_decorr.fits > night.toml", "the options that made an output"),
        ("decorr run sci.fits tmpl.fits diff.fits --config night.toml", "the same again"),
    ],
)
@argument("made", "[OUT]", "An output of decorr run.", required=False)
@option(
    "--init", section="Output", is_flag=True, help="Instead, every option with its meaning and default, as comments."
)
@option(
    "-o",
    "--output",
    section="Output",
    path=True,
    metavar="FILE.toml",
    help="The file to write.  [default: standard output]",
)
@options_of(OutputOptions, "overwrite")
def config(made: str | None, init: bool, output: str | None, **given: Any) -> None:
    """Print the options that made OUT, an output of decorr run, as a file for --config, or a file to begin with."""
    overwrite = chosen(OutputOptions, given).overwrite
    if (made is None) == (not init):
        raise UsageError("either OUT or --init must be given, and not both")
    if made is None:
        text = "".join(_initial())
    else:
        from diffim_decorr.recipe import recipe_of

        text = recipe_of(made).toml()
    if output is None:
        click.echo(text, nl=False)
        return
    from diffim_decorr.io.atomic import check_output, whole_file

    check_output(output, [made] if made else [], overwrite)
    with whole_file(output, overwrite) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(text)


_FIRST = """\
# Options of decorr, for --config. What has no # before it holds; the command line wins. Names of files are as seen
# from the folder of this file. Options before the first table hold for whatever command reads the file.
"""


def _initial() -> Iterator[str]:
    """A file with every option of every command that takes one, as comments."""
    yield _FIRST
    for name in CONFIGURED:
        command: click.Command = getattr(import_module(f"diffim_decorr.cli.{name}"), name)
        yield f"\n\n[{name}]\n"
        listed = [known for known in ours(command) if known.name != "config"]
        for section, those in by_section(listed, lambda known: known.section).items():
            yield f"\n## {section}\n"
            for known in those:
                yield "\n"
                yield from (f"# {line}\n" for line in wrap(known.help or "", 110, break_on_hyphens=False))
                yield f"# {_line(known)}\n"


def _line(known: Option) -> str:
    """A line with the default of an option, or with what its value is called."""
    key = next(name for name in known.opts if name.startswith("--")).lstrip("-")
    metavar, default = known.metavar or "", known.declared.default if known.declared else None
    if known.is_flag:
        value = "true" if default else "false"
    elif isinstance(default, tuple) and default:
        value = json.dumps(default)
    elif known.nargs > 1:
        value = f"[{', '.join(metavar.split())}]"
    elif isinstance(default, int | float):
        value = f"{default:g}"
    elif isinstance(known.type, IntParamType | FloatParamType):
        value = metavar
    else:
        words = "|".join(known.type.choices) if isinstance(known.type, click.Choice) else metavar
        value = json.dumps(default or words, ensure_ascii=False)
    return f"{key} = {value}"
