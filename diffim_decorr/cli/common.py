"""What several commands have in common."""

from __future__ import annotations

import gc
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from diffim_decorr.errors import plain
from diffim_decorr.options import CommandOptions, OutputOptions

__all__ = ("guarded_files", "heard", "loading", "say", "skipped", "tell", "typed", "warn")


@contextmanager
def loading() -> Iterator[None]:
    """For a command's imports: what they leave in memory is all needed, so that nobody has to search it for garbage."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def guarded_files() -> list[str]:
    """Files that a command must not overwrite besides those that it names: its configuration."""
    meta = click.get_current_context().meta
    return [meta["config"]] if "config" in meta else []


@contextmanager
def heard() -> Iterator[None]:
    """For what is said on standard error: that it is full is no failure, and there is nobody to be told."""
    try:
        yield
    except OSError:
        # What is left in the buffer must not fail once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def say(text: str) -> None:
    """One line on standard error."""
    with heard():
        click.echo(plain(text), err=True)


def typed() -> str:
    """The command line as it was typed."""
    return shlex.join(["decorr", *sys.argv[1:]])


def warn(text: str) -> None:
    """A warning on standard error."""
    say(f"decorr: warning: {text}")


def skipped(image: str, output: OutputOptions, command: CommandOptions) -> bool:
    """Whether the output of an image is there and may be skipped, which is said.

    That somebody else has written it in the meantime is as good.
    """
    from diffim_decorr.io.output.layouts import is_output, output_path, output_paths

    path = output_path(output, image)
    if not output.skip_existing or not all(map(os.path.isfile, output_paths(path, output.layout))):
        return False
    warnings = []
    if not is_output(path):
        warnings.append(f"{path}: is skipped, but is no output of decorr (--overwrite replaces it)")
    if not command.quiet:
        for warning in warnings:
            warn(warning)
        if not warnings:
            say(f"decorr: {path}: skipped, for it exists already")
    if command.json:
        from diffim_decorr.cli.summary import print_json
        from diffim_decorr.summary import skipped_of

        with tell(path):
            print_json(skipped_of(path, output.layout, warnings))
    return True


@contextmanager
def tell(path: str) -> Iterator[None]:
    """For what a command prints about a file that it has written.

    The file is whole, whether or not anybody can be told: that standard output is full or closed is said on standard
    error, and is no failure of the command.
    """
    try:
        yield
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        if not isinstance(error, BrokenPipeError):  # else whoever read it has seen enough
            warn(f"standard output: {error.strerror}; {path} is written")
        # What is left in the buffer must not fail once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
