"""``decorr config`` and ``decorr rerun``: making an output again from what its header says."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr.io.fingerprint import fingerprint
from support.command import refused, succeed
from support.files import INPUTS, make_inputs

OPTIONS = (
    "--spatial", "--tolerance", "0.002", "--bad-fraction", "0.03", "--replace-planes", "SAT,CR", "--convolved",
    "template", "--svar", "1.25", "--max-gain", "500", "--psf", "psf.fits", "--half-width", "9",
)  # fmt: skip


@pytest.fixture
def made(tmp_path: Path) -> Path:
    make_inputs(tmp_path)
    succeed(tmp_path, "run", *INPUTS, *OPTIONS, "-o", "out.fits", "-q")
    return tmp_path


def same(one: Path, other: Path) -> None:
    """Every plane, bit for bit, and every option."""
    with fits.open(one) as a, fits.open(other) as b:
        assert [hdu.name for hdu in a] == [hdu.name for hdu in b]
        for name in ("IMAGE", "MASK", "VARIANCE", "PSF"):
            np.testing.assert_array_equal(a[name].data, b[name].data)
        for card in ("DCMODE", "DCTOLER", "DCBADFRC", "DCREPPL", "DCOCONV", "DCOSVAR", "DCMXGAIN", "DCOHWID"):
            assert a[0].header[card] == b[0].header[card], card


def test_the_options_of_an_output_make_it_again(made: Path) -> None:
    text = succeed(made, "config", "out.fits").stdout
    (made / "again.toml").write_text(text, encoding="utf-8")
    entries = tomllib.loads(text)
    assert entries["tolerance"] == 0.002
    assert entries["spatial"] is True
    assert entries["half-width"] == 9
    assert "noise" in entries
    succeed(made, "run", *INPUTS[:3], "--config", "again.toml", "-o", "again.fits", "-q")
    same(made / "out.fits", made / "again.fits")


def test_it_says_how_it_was_made(made: Path) -> None:
    text = succeed(made, "config", "out.fits").stdout
    command = fits.getheader(made / "out.fits")["DCCMD"]
    assert command.startswith("decorr run sci.fits tmpl.fits diff.fits")
    assert "--tolerance 0.002" in command
    assert f"# Command: {command}\n" in text
    for name in ("sci.fits", "tmpl.fits", "diff.fits", "kernel.fits", "psf.fits"):
        assert f"# {name}: {fingerprint(str(made / name))}\n" in text


def test_once_more(made: Path) -> None:
    done = succeed(made, "rerun", "out.fits")
    assert "is not the file" not in done.stderr
    same(made / "out.fits", made / "out_rerun.fits")
    refused(made, "exists", "rerun", "out.fits", status=2)
    succeed(made, "rerun", "out.fits", "-o", "third.fits", "-q")
    same(made / "out.fits", made / "third.fits")


def test_from_another_folder_files_beside_the_output_are_found(
    made: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    succeed(elsewhere, "rerun", made / "out.fits", "-o", "here.fits", "-q")
    same(made / "out.fits", elsewhere / "here.fits")


def test_files_that_have_changed_are_named(made: Path) -> None:
    with fits.open(made / "tmpl.fits", mode="update") as hdus:
        hdus["IMAGE"].data[3, 4] += 1
    done = succeed(made, "rerun", "out.fits")
    assert [line for line in done.stderr.splitlines() if "is not the file" in line] == [
        "decorr: warning: tmpl.fits: is not the file that out.fits was made of"
    ]


def test_files_that_are_gone(made: Path) -> None:
    (made / "kernel.fits").unlink()
    refused(made, ("out.fits", "kernel.fits", "neither here nor beside it"), "rerun", "out.fits", status=3)


def test_what_is_no_output(made: Path) -> None:
    for command in ("config", "rerun"):
        refused(made, "no output of decorr run", command, "sci.fits", status=3)


def test_a_header_that_records_what_cannot_be(made: Path) -> None:
    with fits.open(made / "out.fits", mode="update") as hdus:
        hdus[0].header["DCTOLER"] = -1.0
    refused(made, ("out.fits", "tolerance"), "config", "out.fits", status=3)


def test_fingerprints_tell_files_apart(tmp_path: Path) -> None:
    """Small files by every byte; large ones by what lies in the places that are looked at, and by their size."""
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(b"a" * 1000)
    before = fingerprint(str(small))
    small.write_bytes(b"a" * 999 + b"b")
    assert fingerprint(str(small)) != before
    rng = np.random.default_rng(1)
    content = rng.integers(0, 256, 5_000_000, dtype=np.uint8)
    large.write_bytes(content.tobytes())
    whole = fingerprint(str(large))
    assert whole.startswith("5000000:")
    shutil.copy(large, tmp_path / "copy")
    assert fingerprint(str(tmp_path / "copy")) == whole
    for place in (0, 4_999_999):
        changed = content.copy()
        changed[place] ^= 1
        large.write_bytes(changed.tobytes())
        assert fingerprint(str(large)) != whole
    large.write_bytes(content[:-1].tobytes())
    assert fingerprint(str(large)) != whole
