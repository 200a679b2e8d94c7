"""``decorr completion``: what makes a shell complete the command line."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from diffim_decorr.cli.commands import Command, argument

__all__ = ("completion",)

_SHELLS = ("bash", "zsh", "fish")


@click.command(
    cls=Command,
    page="howto/completion.md",
    examples=[
        ('eval "$(decorr completion bash)"', "in ~/.bashrc"),
        ('eval "$(decorr completion zsh)"', "in ~/.zshrc"),
        ("decorr completion fish > ~/.config/fish/completions/decorr.fish", "once"),
    ],
)
@argument("shell", "SHELL", "bash, zsh or fish.", type=click.Choice(_SHELLS), completed="")
def completion(shell: str) -> None:
    """Print what makes SHELL complete the commands, options, choices and names of files of decorr."""
    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(click.Command("decorr"), {}, "decorr", "_DECORR_COMPLETE").source())
