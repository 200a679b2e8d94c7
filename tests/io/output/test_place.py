"""Where the output goes, and what is never overwritten."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from diffim_decorr import InputError
from diffim_decorr.io.atomic import check_output
from diffim_decorr.io.output.layouts import default_output
from support.command import OUT, quickly, refused, succeed
from support.files import INPUTS, image_planes, sound
from support.spoil import Args, Spoil

# Compression, names, repetition


@pytest.mark.parametrize(
    ("difference", "output"),
    [
        ("diff.fits", "diff_decorr.fits"),
        ("diff.fit", "diff_decorr.fit"),
        ("DIFF.FTS", "DIFF_decorr.FTS"),
        ("diff.fits.gz", "diff_decorr.fits.gz"),
        ("diff.fits.fz", "diff_decorr.fits.fz"),
        ("night.1/diff.fits", "night.1/diff_decorr.fits"),
        ("night.1/diff", "night.1/diff_decorr.fits"),
        ("v1.2.diff.fits", "v1.2.diff_decorr.fits"),
        ("diff.img", "diff_decorr.img"),
        ("diff", "diff_decorr.fits"),
    ],
)
def test_default_name(difference: str, output: str) -> None:
    assert default_output(difference) == output


def test_default_output(folder: Path) -> None:
    assert succeed(folder, "run", *INPUTS).stdout.splitlines()[1].split() == ["output", "diff_decorr.fits"]
    assert (folder / "diff_decorr.fits").is_file()
    packed = gzip.compress((folder / "diff.fits").read_bytes())
    (folder / "diff.fits.gz").write_bytes(packed)
    done = quickly(folder, "run", "sci.fits", "tmpl.fits", "diff.fits.gz[0]", *INPUTS[3:], "--json")
    assert json.loads(done.stdout)["output"] == "diff_decorr.fits.gz"
    for one, other in zip(
        image_planes(folder / "diff_decorr.fits"), image_planes(folder / "diff_decorr.fits.gz"), strict=True
    ):
        assert one.tobytes() == other.tobytes()


def test_overwrite(folder: Path) -> None:
    out = folder / "out.fits"
    out.write_text("precious")
    assert quickly(folder, "run", *INPUTS, *OUT).returncode == 2
    assert out.read_text() == "precious"
    inode = out.stat().st_ino
    kept = folder / "kept.fits"
    kept.hardlink_to(out)
    succeed(folder, "run", *INPUTS, *OUT, "--overwrite")
    sound(out)
    assert out.stat().st_ino != inode
    assert kept.read_text() == "precious"


def test_overwriting_a_link_leaves_what_it_points_to(folder: Path) -> None:
    (folder / "archive.fits").write_text("precious")
    (folder / "out.fits").symlink_to("archive.fits")
    succeed(folder, "run", *INPUTS, *OUT, "--overwrite")
    assert (folder / "archive.fits").read_text() == "precious"
    assert not (folder / "out.fits").is_symlink()


def test_permissions_are_those_of_any_new_file(folder: Path) -> None:
    (folder / "other").touch()
    succeed(folder, "run", *INPUTS, *OUT)
    assert (folder / "out.fits").stat().st_mode == (folder / "other").stat().st_mode


def test_folders_are_those_of_the_system(folder: Path) -> None:
    """Which looks at what is before ``..``: a folder that must be there, or a link that leads elsewhere."""
    refused(folder, "there is no directory", "run", *INPUTS, "-o", "none/../out.fits", status=2)
    (folder / "far" / "away").mkdir(parents=True)
    (folder / "link").symlink_to("far/away")
    succeed(folder, "run", *INPUTS, "-o", "link/../out.fits")
    sound(folder / "far" / "out.fits")
    assert not (folder / "out.fits").exists()
    (folder / "sci.fits").rename(folder / "far" / "sci.fits")
    succeed(folder, "run", "link/../sci.fits", *INPUTS[1:], "-o", "out.fits")


def test_check_output_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_output(str(tmp_path / "new.fits"), [], overwrite=False)
    (tmp_path / "old.fits").touch()
    check_output(str(tmp_path / "old.fits"), [str(tmp_path / "none.fits")], overwrite=True)
    with pytest.raises(InputError, match="--overwrite replaces it"):
        check_output(str(tmp_path / "old.fits"), [], overwrite=False)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InputError, match="cannot be written to"):
        check_output(str(tmp_path / "new.fits"), [], overwrite=False)


# Outputs


def make_directory(folder: Path) -> Args:
    (folder / "out.fits").mkdir()
    return "-o", "out.fits"


def occupied(folder: Path) -> Args:
    (folder / "out.fits").write_text("precious")
    return "-o", "out.fits"


def occupied_default(folder: Path) -> Args:
    (folder / "diff_decorr.fits").write_text("precious")
    return ()


def link(maker: Callable[[Path, Path], None], target: str) -> Spoil:
    return lambda folder: (maker(folder / "out.fits", folder / target), ("-o", "out.fits", "--overwrite"))[1]


def pipe(folder: Path) -> Args:
    os.mkfifo(folder / "out.fits")
    return "-o", "out.fits", "--overwrite"


def stack(out: str) -> Spoil:
    def spoil(folder: Path) -> Args:
        shutil.copy(folder / "tmpl.fits", folder / "deep.fits")
        (folder / "stack.toml").write_text("[[science]]\nnoise = 2.0\n[[template]]\nfile = 'deep.fits[IMAGE]'\n")
        return "--inputs", "stack.toml", "-o", out, "--overwrite"

    return spoil


def always(*args: str) -> Spoil:
    return lambda folder: args


OUTPUTS: dict[str, tuple[Spoil, tuple[str, ...]]] = {
    "science": (always("-o", "sci.fits"), ("sci.fits: the output is the same file as the input sci.fits",)),
    "template": (always("-o", "tmpl.fits", "--overwrite"), ("tmpl.fits: the output is the same file as the input",)),
    "difference": (always("-o", "./diff.fits", "--overwrite"), ("diff.fits: the output is the same file",)),
    "kernel": (always("-o", "kernel.fits", "--overwrite"), ("kernel.fits: the output is the same file",)),
    "PSF": (always("--psf", "psf.fits", "-o", "psf.fits", "--overwrite"), ("psf.fits: the output is the same file",)),
    "kernel of the science image": (
        always("--pre-conv-kernel", "psf.fits", "-o", "psf.fits", "--overwrite"),
        ("psf.fits: the output is the same file",),
    ),
    "list of images": (stack("stack.toml"), ("stack.toml: the output is the same file as the input",)),
    "image of a list": (stack("deep.fits"), ("deep.fits: the output is the same file as the input",)),
    "option file": (
        lambda folder: (
            (folder / "my.toml").write_text("spatial = true"),
            ("--config", "my.toml", "-o", "my.toml", "--overwrite"),
        )[1],
        ("my.toml: the output is the same file as the input",),
    ),
    "symbolic link": (link(Path.symlink_to, "tmpl.fits"), ("out.fits: the output is the same file as the input",)),
    "hard link": (link(Path.hardlink_to, "kernel.fits"), ("out.fits: the output is the same file as the input",)),
    "exists": (occupied, ("out.fits: the output exists already; --overwrite replaces it",)),
    "default exists": (occupied_default, ("diff_decorr.fits: the output exists already",)),
    "dangling link": (
        lambda folder: ((folder / "out.fits").symlink_to("nowhere"), ("-o", "out.fits"))[1],
        ("out.fits: the output exists already",),
    ),
    "no directory": (always("-o", "none/out.fits"), ("none/out.fits: there is no directory",)),
    "below a file": (always("-o", "sci.fits/out.fits"), ("sci.fits/out.fits: there is no directory",)),
    "directory": (make_directory, ("out.fits: the output is a directory",)),
    "name of a directory": (always("-o", "out/"), ("out/: there is no directory",)),
    "empty": (always("-o", ""), ("the name of the output is empty",)),
    "pipe": (pipe, ("out.fits: the output exists and is not a regular file",)),
    "long name": (always("-o", 300 * "x"), ("File name too long",)),
    "nowhere": (always("-o", "/proc/out.fits"), ("/proc/out.fits", "cannot be written")),
}


@pytest.mark.parametrize("defect", OUTPUTS)
def test_output(folder: Path, defect: str) -> None:
    if defect == "nowhere" and not Path("/proc").is_dir():
        pytest.skip("there is no /proc")
    spoil, says = OUTPUTS[defect]
    refused(folder, says, "run", *INPUTS, *spoil(folder), status=2)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_directory_that_may_not_be_written(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir()
    closed.chmod(stat.S_IRUSR | stat.S_IXUSR)
    refused(folder, ("closed/out.fits", "cannot be written to"), "run", *INPUTS, "-o", "closed/out.fits", status=2)
