"""``decorr completion``: what makes a shell complete the command line."""

from __future__ import annotations

import click
from click.shell_completion import (
    BashComplete,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
)

from diffim_decorr.cli.commands import Command, argument

__all__ = ("completion", "register")


class _Bash(BashComplete):
    """Takes ``--option=value`` for the words that bash makes of it: option, =, and value."""

    def get_completion_args(self) -> tuple[list[str], str]:
        words, last = super().get_completion_args()
        if last == "=":
            return words, ""
        return (words[:-1], last) if words[-1:] == ["="] else (words, last)


class _Zsh(ZshComplete):
    """Leaves ``--option=`` before a value in its place."""

    source_template = ZshComplete.source_template.replace(
        "    local -a completions\n", "    compset -P 1 '--*='\n    local -a completions\n", 1
    ).replace("compadd -U", 'compadd -U -i "$IPREFIX"')


class _Fish(FishComplete):
    """The same, and descriptions may have commas."""

    source_template = (
        FishComplete.source_template.replace('string split ","', 'string split --max 1 ","')
        .replace("    for ", "    set -l option (string match -r -- '^--[^=]+=' (commandline -t));\n\n    for ")
        .replace("    end;\nend;\n", "    end | string replace -r '^' -- \"$option\";\nend;\n")
    )


_SHELLS: dict[str, type[ShellComplete]] = {"bash": _Bash, "zsh": _Zsh, "fish": _Fish}


def register() -> None:
    """Make these what click takes for the shells of these names."""
    for shell, found in _SHELLS.items():
        add_completion_class(found, shell)


@click.command(
    cls=Command,
    page="howto/completion.md",
    examples=[
        ('eval "$(decorr completion bash)"', "in ~/.bashrc"),
        ('eval "$(decorr completion zsh)"', "in ~/.zshrc"),
        ("decorr completion fish > ~/.config/fish/completions/decorr.fish", "once"),
    ],
)
@argument("shell", "SHELL", "bash, zsh or fish.", type=click.Choice(tuple(_SHELLS)), completed="")
def completion(shell: str) -> None:
    """Print what makes SHELL complete the commands, options, choices and names of files of decorr."""
    click.echo(_SHELLS[shell](click.Command("decorr"), {}, "decorr", "_DECORR_COMPLETE").source())
