"""``decorr help``: the help of a command."""

from __future__ import annotations

import click

from diffim_decorr.cli.commands import Command, argument, nearest

__all__ = ("help",)


@click.command(
    cls=Command,
    examples=[
        ("decorr help", "all commands"),
        ("decorr help run", "one of them"),
        ("decorr help kernel at", "one of a group"),
    ],
)
@argument("names", "[COMMAND]...", "The command, with its group if it is in one.", nargs=-1, completed="")
@click.pass_context
def help(context: click.Context, names: tuple[str, ...]) -> None:
    """Show the help of a command, as COMMAND --help does."""
    own = context.find_root()
    for name in names:
        group = own.command
        command = group.get_command(own, name) if isinstance(group, click.Group) else None
        if command is None:
            known = group.list_commands(own) if isinstance(group, click.Group) else []
            raise click.UsageError(f"No such command {name!r}.{nearest(name, known)}", own)
        own = click.Context(command, info_name=name, parent=own, max_content_width=own.max_content_width)
    click.echo(own.get_help())
