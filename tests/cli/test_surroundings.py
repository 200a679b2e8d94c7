"""What a command is started in: closed or full streams, a home without access, little memory, names with anything."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from astropy.io import fits

from diffim_decorr.cli import surroundings
from support.command import COMMAND, ENVIRONMENT, OUT, refused, succeed
from support.files import INPUTS, sound


def _in_shell(
    folder: Path, streams: str, args: Sequence[str] = (*INPUTS, *OUT), **keywords: object
) -> tuple[int, str, str]:
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {streams}', "sh", *COMMAND, "run", *args], cwd=folder, capture_output=True, text=True,
        check=False, **{"env": ENVIRONMENT, **keywords},
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("streams", "args", "status"),
    [
        ("<&- >&- 2>&-", (*INPUTS, *OUT), 0),
        (">/dev/full 2>/dev/full", (*INPUTS, *OUT), 0),
        ("2>/dev/full", ("--no-such-option",), 2),
        ("2>&-", ("none.fits", *INPUTS[1:]), 3),
    ],
)
def test_streams_that_are_closed_or_full(folder: Path, streams: str, args: tuple[str, ...], status: int) -> None:
    """Change neither what is written nor the status; nothing that is opened is taken for one of them."""
    assert _in_shell(folder, streams, args)[0] == status
    if not status:
        sound(folder / "out.fits")


def test_streams_are_not_taken_for_files() -> None:
    """The least descriptors are those of the standard streams, whether or not these are open."""
    kept = os.dup(0)
    try:
        os.close(0)
        surroundings.settle()
        with open(os.devnull) as file:
            assert file.fileno() > 0
    finally:
        os.dup2(kept, 0)
        os.close(kept)


def test_a_home_that_cannot_be_looked_into(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is taken for one that has nothing in it."""

    def stat(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    with monkeypatch.context() as hidden:
        hidden.setenv("HOME", str(folder))
        hidden.setenv("XDG_CONFIG_HOME", str(folder))
        hidden.setenv("XDG_CACHE_HOME", str(folder))
        hidden.setattr(surroundings.os, "stat", stat)
        surroundings.settle()
        environment = dict(os.environ)
    assert _in_shell(folder, "", env={**environment, "PYTHONWARNINGS": "error"})[0] == 0
    assert str(folder) not in environment.values()


def test_too_little_memory_is_said(folder: Path) -> None:
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (200_000_000, resource.RLIM_INFINITY))

    status, out, err = _in_shell(folder, "", preexec_fn=limited)
    assert (status, out) == (1, "")
    assert err.startswith("decorr: failed: there is not enough memory (")
    assert err.count("\n") == 1
    assert not (folder / "out.fits").exists()


def test_control_characters_go_nowhere(folder: Path) -> None:
    """From names of files, and from the cards of a header that breaks the standard, to a terminal or a header."""
    name = "\x1b[31mred\nkernel = 1.fits"
    content = (folder / "diff.fits").read_bytes()
    begin = content.index(b"HISTORY made")
    card = b"HISTORY \x1b[31mred\x07 \xff".ljust(80)
    (folder / name).write_bytes(content[:begin] + card + content[begin + 80 :])
    args = ("sci.fits", "tmpl.fits", name, *INPUTS[3:], "-o", f"out{name}", "--overwrite")
    said = [succeed(folder, "run", *args).stdout, succeed(folder, "run", *args, "--json").stdout]
    said += [succeed(folder, *command).stdout for command in (("config", f"out{name}"), ("qa", f"out{name}", name))]
    said.append(refused(folder, "red", "run", *args[:-1], status=2).stderr)
    for text in said:
        assert "red" in text
        assert all(c.isprintable() for c in text.replace("\n", "")), text
        assert "\nkernel = 1" not in text
    with fits.open(folder / f"out{name}") as hdus:
        text = "".join(hdu.header.tostring() for hdu in hdus)
        assert all(" " <= c <= "~" for c in text)
        assert "?[31mred? ?" in hdus[0].header["HISTORY"][0]
