"""Options of the command line, made from their declarations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.core import ParameterSource
from click.types import FloatParamType, IntParamType

from diffim_decorr.cli import commands
from diffim_decorr.declare import Declared, Option, declared
from diffim_decorr.errors import OptionError, UsageError

__all__ = ("chosen", "options_of")

_Command = TypeVar("_Command", bound=Callable[..., Any])
_Group = TypeVar("_Group", bound=Declared)


def options_of(group: type[Declared], *names: str) -> Callable[[_Command], _Command]:
    """A decorator that gives a command the options of a group, or those of some names."""

    def decorate(command: _Command) -> _Command:
        for name, option in reversed(declared(group).items()):
            if not names or name in names:
                command = _click_option(option)(command)
        return command

    return decorate


def chosen(group: type[_Group], given: dict[str, Any]) -> _Group:
    """The options of a group, taken out of what a command was given."""
    own = {name: given.pop(name) for name in declared(group) if name in given}
    try:
        return group(**own)
    except OptionError as error:
        context = click.get_current_context()
        sources = {context.get_parameter_source(name) for name in error.names}
        if "config" in context.meta and ParameterSource.DEFAULT_MAP in sources:
            raise OptionError(f"{context.meta['config']}: {error.text}") from error
        raise


def _click_option(option: Option) -> Callable[[_Command], _Command]:
    names = [option.name, option.flag, *([option.short] if option.short else [])]
    # Files that are not named are not there.
    silent = option.required or option.kind == "texts" or (option.default is None and not option.unset)
    silent |= option.kind == "flag" and not option.flags
    shown = "" if silent else f"  [default: {option.shown_default}]"
    keywords: dict[str, Any] = {
        "required": option.required,
        "help": f"{option.help}{shown}",
        "callback": _checked(option),
        "metavar": option.metavar or None,
        "declared": option,
    }
    if option.default is not None and option.kind not in ("names", "shape", "texts"):
        keywords["default"] = option.default
    if option.kind == "choice":
        # The word for None is one of the choices.
        keywords |= {"type": click.Choice(option.words_to_choose), "metavar": None}
        if option.default is None and option.unset in option.words_to_choose:
            keywords["default"] = option.unset
    elif option.kind == "flag":
        keywords |= {"is_flag": True, "metavar": None}
    elif option.kind == "texts":
        keywords |= {"type": str, "multiple": True}
    elif option.kind == "point":
        keywords |= {"type": float, "nargs": 2}
    elif option.kind in ("int", "float"):
        keywords["type"] = _Whole(option) if option.kind == "int" else _Number(option)
    else:
        keywords["type"] = str
    return commands.option(*names, **keywords)


class _Whole(IntParamType):
    """Whole numbers, and the word that stands for None."""

    def __init__(self, option: Option) -> None:
        self.word = option.unset

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if value == self.word else super().convert(value, param, ctx)


class _Number(FloatParamType):
    """Numbers, and the word that stands for None."""

    def __init__(self, option: Option) -> None:
        self.word = option.unset

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if value == self.word else super().convert(value, param, ctx)


def _checked(option: Option) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """A value that was typed in the form that is worked with."""

    def check(_ctx: click.Context, _param: click.Parameter, value: Any) -> Any:
        if option.required:
            return value
        if value is None or (option.repeated and not value):
            return option.default
        try:
            return option.checked(value, called=option.flag)
        except UsageError as error:
            # click says itself which option it is.
            unset = f" (without it: {option.unset})" if option.default is None and option.unset else ""
            raise click.BadParameter(f"{str(error).removeprefix(option.flag).strip()}{unset}.") from error

    return check
