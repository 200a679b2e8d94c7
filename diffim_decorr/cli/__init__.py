"""The command line: a group of commands, each in a module of its own that is loaded when it is called."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from importlib import import_module
from typing import Any, NoReturn

import click

from diffim_decorr._version import __version__
from diffim_decorr.cli.commands import Group
from diffim_decorr.cli.common import heard, say
from diffim_decorr.cli.failures import Telling, asked_for_json
from diffim_decorr.cli.surroundings import settle
from diffim_decorr.errors import (
    FailedExposuresError,
    FailedVerdictError,
    InputError,
    OptionError,
    UsageError,
    lacks_memory,
)

__all__ = ("cli", "main")

# Name and first line of help; the module is diffim_decorr.cli.NAME.
_COMMANDS = {
    "run": "Whiten the noise of a difference image.",
    "batch": "Whiten the noise of many difference images.",
    "apply": "Convolve companion images with the kernel that a run stored.",
    "snr": "Measure flux, error and S/N of point sources at every pixel.",
    "measure": "Measure fluxes at given positions.",
    "qa": "Judge the noise of any difference image.",
    "info": "Show what a file holds, and what would be used of it.",
    "report": "Write an index over many results.",
    "config": "Print the options that made an output, as a file for --config.",
    "rerun": "Make an output once more.",
    "kernel": "Show, evaluate, draw and convert kernels.",
    "psf": "Write a PSF at one position as an image.",
    "simulate": "Simulate exposures, their difference and kernel.",
    "completion": "Print what makes a shell complete commands, options and names of files.",
    "help": "Show the help of a command.",
}


_SIGNALS = (signal.SIGTERM, signal.SIGHUP) if hasattr(signal, "SIGHUP") else (signal.SIGTERM,)


class _LazyGroup(Group):
    """Knows its commands by name, so that `--help` and `--version` need none of their modules."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"diffim_decorr.cli.{cmd_name}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(
    cls=_LazyGroup,
    page="start/tutorial.md",
    examples=[
        ("decorr simulate night", "files to begin with"),
        ("decorr run sci.fits tmpl.fits diff.fits --kernel kernel.fits --spatial", "white noise, diff_decorr.fits"),
        ("decorr help run", "what a command can do"),
    ],
)
@click.version_option(__version__, "-V", "--version", prog_name="decorr")
def cli() -> None:
    """Undo the noise correlation that image differencing leaves behind.

    Exit status: 0 done, 2 wrong usage, 3 bad input, 4 done but bad under --strict, 5 some of a batch failed, 1 anything
    else.
    """


def _terminated(number: int, _frame: Any) -> NoReturn:
    # As an exception, so that unfinished files are removed on the way out, which a second signal must not stop.
    for other in _SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    sys.exit(128 + number)


def main() -> None:
    """Run the command line and end the process."""
    settle()
    for number in _SIGNALS:
        if signal.getsignal(number) == signal.SIG_DFL:  # nohup means it
            signal.signal(number, _terminated)
    if not sys.warnoptions:
        # What users should know is said in lines of our own.
        warnings.simplefilter("ignore")
    telling = Telling(asked_for_json(sys.argv[1:]))
    if "_DECORR_COMPLETE" in os.environ:  # a shell asks
        import_module("diffim_decorr.cli.completion").register()
    try:
        cli(standalone_mode=False, obj=telling)
        if sys.stdout is not None:  # closed by whoever started us
            sys.stdout.flush()  # while there is somebody to tell what goes wrong
    except click.ClickException as error:
        with heard():
            error.show()
        telling.tell("usage", error.format_message(), error.exit_code)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        say("decorr: interrupted")
        telling.tell("interrupted", "interrupted", 130)
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read our output has gone; there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except FailedVerdictError as error:
        _end(telling, "verdict", str(error), 4)
    except FailedExposuresError as error:
        _end(telling, "exposures", str(error), 5)
    except InputError as error:
        text = error.typed if isinstance(error, OptionError) else str(error)
        _end(telling, error.code, text, 2 if isinstance(error, UsageError) else 3, "error: ")
    except Exception as error:
        if os.environ.get("DECORR_TRACEBACK"):
            raise
        cause = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, OSError) and error.filename is not None:
            cause = f"{os.fsdecode(error.filename)}: {error.strerror}"
        if lacks_memory(error):
            text = f"there is not enough memory ({cause}): a higher limit (ulimit -v), or --threads 1"
            _end(telling, "memory", text, 1, "failed: ")
        notes = "".join(f"; {note}" for note in getattr(error, "__notes__", ()))
        text = f"{type(error).__name__}: {cause}{notes} (DECORR_TRACEBACK=1 shows where)"
        _end(telling, "unforeseen", text, 1, "failed: ")


def _end(telling: Telling, code: str, text: str, status: int, kind: str = "") -> NoReturn:
    """Say what went wrong and end the process."""
    say(f"decorr: {kind}{text}")
    telling.tell(code, text, status)
    sys.exit(status)
