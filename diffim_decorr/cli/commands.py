"""What all commands have in common as click sees them: help by topic, arguments described, examples, suggestions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeVar

import click

from diffim_decorr.declare import Option as Declaration
from diffim_decorr.declare import Section, by_section

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ("WIDTH", "Argument", "Command", "Group", "Option", "argument", "nearest", "option", "ours", "output_option")

#: Of help, at most.
WIDTH = 100
# Where the documentation is: beside the sources, as long as it is published nowhere.
_DOCUMENTATION = "docs"
_Function = TypeVar("_Function", bound=Callable[..., Any])
_NUMBER = re.compile(r"-\d*\.?\d+(e[-+]?\d+)?|-(inf|nan)", re.IGNORECASE)


class Option(click.Option):
    """An option that knows its topic, and whether it names files, whose names shells complete.

    Parameters
    ----------
    section
        The topic that help lists it under.
    path
        Whether its value is the name of a file.
    declared
        What is declared of it, if anything is.
    """

    def __init__(
        self,
        *args: Any,
        section: Section = "General",
        path: bool = False,
        declared: Declaration | None = None,
        **more: Any,
    ) -> None:
        super().__init__(*args, **more)
        self.section: Section = section if declared is None else declared.section
        self.path = path if declared is None else declared.names_path
        self.declared = declared

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        return _completed("file", incomplete) if self.path else super().shell_complete(ctx, incomplete)


class Argument(click.Argument):
    """An argument with a meaning. Of files, as almost all are, shells complete the names.

    Parameters
    ----------
    meaning
        What it is.
    completed
        ``file`` or ``dir``; nothing else is completed.
    """

    def __init__(self, *args: Any, meaning: str, completed: str = "file", **more: Any) -> None:
        super().__init__(*args, **more)
        self.meaning = meaning
        # By this name other programs, such as sphinx-click, look for it.
        self.help = meaning
        self.completed = completed

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        return _completed(self.completed, incomplete) if self.completed else super().shell_complete(ctx, incomplete)


def _completed(kind: str, incomplete: str) -> list[CompletionItem]:
    """What has the shell complete names of files, or of folders."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type=kind)]


class _Helpful(click.Command):
    """Help that says all there is to know.

    Parameters
    ----------
    examples
        Command lines, each with what it is for.
    page
        The page of the documentation that has more.
    """

    def __init__(self, *args: Any, examples: Sequence[tuple[str, str]] = (), page: str = "", **more: Any) -> None:
        super().__init__(*args, **more)
        self.context_settings = {"help_option_names": ["-h", "--help"], "max_content_width": WIDTH} | dict(
            self.context_settings
        )
        self.examples = tuple(examples)
        self.page = page

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_usage(ctx, formatter)
        self.format_help_text(ctx, formatter)
        described = [(param.human_readable_name, param.meaning) for param in self.params if isinstance(param, Argument)]
        if described:
            with formatter.section("Arguments"):
                formatter.write_dl(described)
        self.format_options(ctx, formatter)
        self._write_examples(formatter)

    def _write_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        options = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        for section, those in by_section(options, _section_of).items():
            records = [record for option in those if (record := option.get_help_record(ctx)) is not None]
            with formatter.section("Options" if len(options) == len(those) else section):
                formatter.write_dl(records)

    def _write_examples(self, formatter: click.HelpFormatter) -> None:
        if self.examples:
            with formatter.section("Examples"):
                for line, purpose in self.examples:
                    formatter.write_text(f"# {purpose}")
                    formatter.write(f"{'':>{formatter.current_indent}}{line}\n")
        if self.page:
            formatter.write_paragraph()
            formatter.write_text(f"More: {_DOCUMENTATION}/{self.page}")


def _section_of(option: click.Option) -> Section:
    return option.section if isinstance(option, Option) else "General"


class Command(_Helpful):
    """A command whose numbers may be negative, and which names the nearest option where there is none.

    Parameters
    ----------
    negative
        Whether arguments may be negative numbers, which would look like options.
    """

    def __init__(self, *args: Any, negative: bool = False, **more: Any) -> None:
        super().__init__(*args, **more)
        self.ignore_unknown_options = negative

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self._write_options(ctx, formatter)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not self.ignore_unknown_options:
            return super().parse_args(ctx, args)
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.UsageError:
            # What is no option counts as an argument here; as one too many it is none.
            known = [name for param in self.get_params(ctx) for name in (*param.opts, *param.secondary_opts)]
            for word in given[: given.index("--")] if "--" in given else given:
                name = word.partition("=")[0]
                if name.startswith("-") and len(name) > 1 and not _NUMBER.fullmatch(word) and name not in known:
                    raise click.NoSuchOption(name, possibilities=known, ctx=ctx) from None
            raise


class Group(_Helpful, click.Group):
    """A group of commands that names the nearest where there is none of a name."""

    command_class = Command

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self._write_options(ctx, formatter)
        self.format_commands(ctx, formatter)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-") and not ctx.resilient_parsing:
            ctx.fail(f"No such command {name!r}.{nearest(name, self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)


def argument(name: str, metavar: str, meaning: str, **more: Any) -> Callable[[_Function], _Function]:
    """A decorator that gives a command an argument with a meaning."""
    return click.argument(name, metavar=metavar, meaning=meaning, cls=Argument, **more)


def option(*names: str, **more: Any) -> Callable[[_Function], _Function]:
    """A decorator that gives a command an `Option`."""
    return click.option(*names, cls=Option, **more)


def output_option(of: str, ending: str) -> Callable[[_Function], _Function]:
    """A decorator that gives a command the option of its output, which is named after what it is made of."""
    return option(
        "-o",
        "--output",
        section="Output",
        path=True,
        metavar="TABLE" if of == "TABLE" else "FILE",
        help=f"The output.  [default: {of}'s name with {ending} before its ending]",
    )


def nearest(name: str, known: Sequence[str]) -> str:
    """A sentence that names what is nearest to a name, if anything is."""
    near = get_close_matches(name, known, n=2)
    return f" (Did you mean {' or '.join(map(repr, near))}?)" if near else ""


def ours(command: click.Command) -> Iterator[Option]:
    """The options of a command but for those that click adds."""
    return (param for param in command.params if isinstance(param, Option))
