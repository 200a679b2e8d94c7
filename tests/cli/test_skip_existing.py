"""Outputs that are there already can be skipped, as by a script that is started once more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from astropy.io import fits

from support.command import OUT, quickly, refused, succeed
from support.files import INPUTS, listing, write_hdus

SKIP = (*OUT, "--skip-existing")


@pytest.mark.parametrize("more", [(), ("--all-ext",), ("--layout", "flat")])
def test_an_output_that_is_there_is_left_alone(folder: Path, more: tuple[str, ...]) -> None:
    with fits.open(folder / "diff.fits") as hdus:
        image = fits.ImageHDU(hdus[0].data, hdus[0].header, "IMAGE")
    write_hdus(folder / "diff.fits", image)
    line = ("run", *INPUTS, *SKIP, *more)
    assert "max_abs_rho" in succeed(folder, *line).stdout
    before = listing(folder)
    (folder / "sci.fits").write_text("whatever has become of it")
    after = {**before, "sci.fits": b"whatever has become of it"}
    done = succeed(folder, *line)
    assert (done.stdout, done.stderr) == ("", "decorr: out.fits: skipped, for it exists already\n")
    done = succeed(folder, *line, "-q")
    assert (done.stdout, done.stderr) == ("", "")
    said = json.loads(succeed(folder, *line, "-q", "--json").stdout)
    assert (said["schema"], said["output"], said["skipped"], said["warnings"]) == (1, "out.fits", True, [])
    assert ("files" in said) == ("flat" in more)
    assert listing(folder) == after


def test_companions_are_skipped_as_well(psi_runs: Path, tmp_path: Path) -> None:
    line = ("apply", "sci.fits", "--psi", "step.fits", "-o", tmp_path / "o.fits", "--skip-existing")
    succeed(psi_runs, *line)
    content = (tmp_path / "o.fits").read_bytes()
    done = succeed(psi_runs, *line)
    assert done.stdout == ""
    assert "o.fits: skipped" in done.stderr
    assert json.loads(succeed(psi_runs, *line, "--json").stdout)["skipped"] is True
    assert (tmp_path / "o.fits").read_bytes() == content


def test_by_the_option_file_and_the_usual_name(folder: Path) -> None:
    (folder / "options.toml").write_text("skip-existing = true")
    succeed(folder, "run", *INPUTS, "--config", "options.toml")
    done = succeed(folder, "run", *INPUTS, "--config", "options.toml")
    assert done.stderr == "decorr: diff_decorr.fits: skipped, for it exists already\n"


def test_what_is_no_output_is_told(folder: Path) -> None:
    """It stays, but whoever goes on to work with it should know."""
    for text in (b"precious", (folder / "sci.fits").read_bytes()):
        (folder / "out.fits").write_bytes(text)
        done = succeed(folder, "run", *INPUTS, *SKIP)
        assert (
            done.stderr
            == "decorr: warning: out.fits: is skipped, but is no output of decorr (--overwrite replaces it)\n"
        )
        said = json.loads(quickly(folder, "run", *INPUTS, *SKIP, "--json").stdout)
        assert len(said["warnings"]) == 1
        assert (folder / "out.fits").read_bytes() == text


def test_what_cannot_be_an_output_is_not_skipped(folder: Path) -> None:
    refused(folder, "sci.fits: the output is the same file as the input", "run", *INPUTS, "-o", "sci.fits",
            "--skip-existing", status=2)  # fmt: skip
    refused(folder, "there is no directory", "run", *INPUTS, "-o", "none/out.fits", "--skip-existing", status=2)
    (folder / "link.fits").symlink_to("nowhere.fits")
    refused(folder, "link.fits: the output exists already", "run", *INPUTS, "-o", "link.fits", "--skip-existing",
            status=2)  # fmt: skip
    (folder / "out_mask.fits").write_text("of another run")
    refused(folder, "out_mask.fits: the output exists already", "run", *INPUTS, *SKIP, "--layout", "flat", status=2)
