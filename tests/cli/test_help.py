"""Help, suggestions and completion: what a command says of itself."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from diffim_decorr.cli import cli
from diffim_decorr.cli.commands import WIDTH, Argument, Option
from support.command import quickly
from support.project import ROOT


def commands(group: click.Group = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """All commands with their names."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


ALL = dict(commands())


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help_says_all_there_is(path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    command = ALL[path]
    wide, narrow = (help_on_terminal(path, columns, monkeypatch) for columns in (200, 50))
    for param in command.params:
        if isinstance(param, click.Argument):
            assert isinstance(param, Argument)
            assert param.meaning.endswith(".")
        else:
            assert param.opts[-1] in wide
    assert max(map(len, options_in(wide))) <= WIDTH
    # What is one word may stand out, such as the words to choose from.
    assert all(len(line) <= 50 or len(line.split()) <= 2 for line in options_in(narrow))
    examples = command.examples  # type: ignore[attr-defined]
    assert len(examples) == 3
    for line, purpose in examples:
        assert line in narrow
        assert purpose
    page = command.page  # type: ignore[attr-defined]
    assert not page or (ROOT / "docs" / page).exists()


def help_on_terminal(path: tuple[str, ...], columns: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """The help on a terminal of a width."""
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((columns, 24)))
    return ALL[path].make_context(path[-1], [], resilient_parsing=True).get_help()


def options_in(text: str) -> list[str]:
    return text.partition("\nExamples:")[0].splitlines()


@pytest.mark.parametrize("path", [(), *ALL], ids=" ".join)
def test_examples_are_command_lines(path: tuple[str, ...]) -> None:
    """Every command and option in them exists, and as many arguments as there may be."""
    command = ALL[path] if path else cli
    for line, _ in command.examples:  # type: ignore[attr-defined]
        words = shlex.split(line.removeprefix('eval "$(').removesuffix(')"').partition(" > ")[0])
        assert words.pop(0) == "decorr"
        name: tuple[str, ...] = ()
        while (*name, words[0]) in ALL:
            name = (*name, words.pop(0))
            if not words:
                break
        assert name
        target = ALL[name]
        if not isinstance(target, click.Group):
            _, left, _ = target.make_parser(click.Context(target)).parse_args(words)
            assert left == []


def test_every_option_has_a_topic() -> None:
    """But for those about the command itself."""
    left = {
        param.opts[-1]
        for command in ALL.values()
        for param in command.params
        if isinstance(param, click.Option) and (not isinstance(param, Option) or param.section == "General")
    }
    assert left == {"--config"}


def test_topics_stand_in_their_order() -> None:
    text = CliRunner().invoke(cli, ["run", "--help"]).output
    heads = [line[:-1] for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert heads == [
        "Arguments", "Matching kernel", "Images", "Noise", "Whitening", "Missing pixels", "Quality", "Output",
        "Threads and memory", "Messages", "General", "Examples",
    ]  # fmt: skip
    assert "[default: constant]" in text
    assert "[default: 0.001]" in text


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("rum", "a.fits"), "No such command 'rum'. (Did you mean 'run'?)"),
        (("kernel", "shwo", "a.fits"), "No such command 'shwo'. (Did you mean 'show'?)"),
        (("fly",), "No such command 'fly'.\n"),
        (("help", "kernel", "plott"), "No such command 'plott'. (Did you mean 'plot'?)"),
        (("run", "a", "b", "c", "--spacial"), "'--spatial'"),
        (("kernel", "at", "a", "-1", "5", "--overwrit", "-o", "b"), "'--overwrit'. Did you mean '--overwrite'?"),
        (("psf", "a", "-1", "5", "-x", "-o", "b"), "No such option '-x'"),
        (("psf", "a", "-1", "5", "7", "-o", "b"), "Got unexpected extra argument"),
    ],
)
def test_what_is_nearest_is_named(tmp_path: Path, args: tuple[str, ...], says: str) -> None:
    done = quickly(tmp_path, *args)
    assert done.returncode == 2
    assert says in done.stderr


def test_help_is_a_command_and_the_version_has_a_letter(tmp_path: Path) -> None:
    for args in ((), ("run",), ("kernel",), ("kernel", "at")):
        asked, flagged = quickly(tmp_path, "help", *args), quickly(tmp_path, *args, "--help")
        assert (asked.returncode, asked.stdout) == (0, flagged.stdout)
    assert quickly(tmp_path, "-V").stdout == quickly(tmp_path, "--version").stdout
