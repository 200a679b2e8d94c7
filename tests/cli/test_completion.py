"""What the shells themselves complete, each asked in its own way."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.command import decorr

# bash has readline ask, of which there is none here: files are completed if it is told to.
_BASH = """
source ./script
ask() {
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
    compopt() { local IFS=" "; COMPREPLY=("files: $*"); }
    _decorr_completion decorr
    echo "${COMPREPLY[*]}"
}
ask decorr ru
ask decorr kernel c
ask decorr run --node
ask decorr run --convolved te
ask decorr run --convolved = te
ask decorr run --convolved =
ask decorr run sci
ask decorr run --kernel sci
ask decorr run --kernel = sci
ask decorr run a b c -o sci
ask decorr simulate ni
ask decorr help x
"""
# In a terminal of its own the key for completion leaves in a file what the line has become.
_ZSH = """
zmodload zsh/zpty
zpty terminal zsh -f -i
zpty -w terminal 'autoload -Uz compinit; compinit -u -d ./dump; source ./script'
zpty -w terminal 'ask() { zle complete-word; print -r -- "$BUFFER" >> answers; zle kill-whole-line; }'
zpty -w terminal 'zle -N ask; bindkey "^I" ask; touch ready'
until [[ -e ready ]] { sleep 0.05 }
touch answers
count=0
for line in "$@"; do
    zpty -n -w terminal "$line"$'\\t'
    count=$((count + 1))
    until (( $(wc -l < answers) == count )) { sleep 0.05 }
done
zpty -d terminal
cat answers
"""
_FISH = """
source ./script
for line in $argv
    complete -C $line
end
"""


def _asked(folder: Path, shell: str, script: str, *lines: str) -> list[str]:
    """What a shell prints that has the command's own script."""
    command = shutil.which(shell)
    if command is None:
        if "DECORR_NEEDS_SHELLS" in os.environ:
            pytest.fail(f"there is no {shell}, which could have been installed")
        pytest.skip(f"there is no {shell} (Debian: package {shell})")
    (folder / "script").write_text(decorr(folder, "completion", shell).stdout)
    (folder / "ask").write_text(script)
    (folder / "science one.fits").touch()
    bare = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    places = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": places, "HOME": str(folder), "TERM": "xterm"}
    done = subprocess.run(
        [command, *bare, "ask", *lines], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_bash(tmp_path: Path) -> None:
    """Commands, options, choices; names of files for arguments and options."""
    files, folders = "files: -o default", "files: -o dirnames"
    words = ["run", "convert", "--node-spacing", "template", "template", "auto template science"]
    assert _asked(tmp_path, "bash", _BASH) == [*words, files, files, files, files, folders, ""]


def test_zsh(tmp_path: Path) -> None:
    """Besides, what stands before the value of an option stays."""
    lines = {
        "decorr ru": "decorr run ",
        "decorr kernel c": "decorr kernel convert ",
        "decorr run --node": "decorr run --node-spacing ",
        "decorr run --convolved te": "decorr run --convolved template ",
        "decorr run --convolved=te": "decorr run --convolved=template ",
        "decorr run sci": r"decorr run science\ one.fits ",
        "decorr run --kernel sci": r"decorr run --kernel science\ one.fits ",
        "decorr run --kernel=sci": r"decorr run --kernel=science\ one.fits ",
        "decorr help x": "decorr help x",
    }
    assert dict(zip(lines, _asked(tmp_path, "zsh", _ZSH, *lines), strict=True)) == lines


def test_fish(tmp_path: Path) -> None:
    """With descriptions, which may have commas."""
    lines = {
        "decorr ru": "run\tWhiten the noise of the difference image...",
        "decorr kernel pl": "plot\tDraw the kernel, and the decorrelation...",
        "decorr run --convolved te": "template",
        "decorr run --convolved=te": "--convolved=template",
        "decorr run sci": "science one.fits",
        "decorr run --kernel sci": "science one.fits",
        "decorr run --kernel=sci": "--kernel=science one.fits",
    }
    assert _asked(tmp_path, "fish", _FISH, *lines, "decorr help x") == list(lines.values())
