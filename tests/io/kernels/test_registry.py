"""Which format a kernel file has, and the format that is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from click.testing import CliRunner

from diffim_decorr import InputError, read_kernel
from diffim_decorr.cli.run import run
from support.command import refused
from support.files import INPUTS


def test_the_command_knows_all_formats(inputs: Path) -> None:
    """Those that the reader of kernels names if it is asked for another one."""
    with pytest.raises(InputError, match="there is no kernel format 'none'; there are ") as caught:
        read_kernel(inputs / "kernel.fits", format="none")
    names = str(caught.value).split("there are ")[1].split(", ")
    assert len(names) >= 6
    for option in ("kernel_format", "sci_kernel_format"):
        (parameter,) = [p for p in run.params if p.name == option]
        assert list(parameter.type.choices) == names
    said = CliRunner().invoke(run, ["--help"]).output
    assert "--kernel-format" in said


def test_a_format_that_is_asked_for_wins(tmp_path: Path) -> None:
    """A file that two readers take: the table is looked for first, the image only if it is asked for."""
    table = fits.table_to_hdu(Table({"DX": [0, 1], "DY": [0, 0], "X0Y0": [0.7, 0.2]}))
    fits.HDUList([fits.PrimaryHDU(np.eye(3)), table]).writeto(tmp_path / "both.fits")
    assert read_kernel(tmp_path / "both.fits").format == "table"
    assert read_kernel(tmp_path / "both.fits", format="image").kernel.sum_at(0, 0) == 3.0
    with pytest.raises(
        InputError, match="there is no kernel format 'fits'; there are delta, hotpants, sfft, lsst, lsst-images"
    ):
        read_kernel(tmp_path / "both.fits", format="fits")
    for name, cause in [
        ("hotpants", "holds no HOTPANTS kernel table"),
        ("sfft", "holds no solution of SFFT"),
        ("lsst", "holds no archive of LSST objects"),
        ("grid", "needs a table with their positions"),
    ]:
        with pytest.raises(InputError, match=f"both.fits.*{cause}"):
            read_kernel(tmp_path / "both.fits", format=name)
    for name in ("grid", "image"):
        with pytest.raises(InputError, match=r"both\.fits.*holds no image"):
            read_kernel(f"{tmp_path / 'both.fits'}[1]", format=name)


def test_formats_on_the_command_line(folder: Path) -> None:
    line = ("run", *INPUTS, "--overwrite")
    done = refused(folder, "holds no solution of SFFT", *line, "--kernel-format", "sfft")
    assert done.stderr.startswith("decorr: error: kernel.fits: holds no solution of SFFT")
    psf = ("--pre-conv-kernel", "psf.fits", "--sci-kernel-format", "table")
    refused(folder, "psf.fits: holds no table of kernel pixels", *line, *psf)
    refused(folder, "--kernel-format", *line, "--kernel-format", "fits", status=2)
    fits.PrimaryHDU().writeto(folder / "empty.fits")
    known = ("HOTPANTS", "SFFT", "LSST", "table of kernel pixels", "cube of kernel images", "a kernel image")
    refused(folder, known, *line[:4], "--kernel", "empty.fits")


def test_files_that_hold_no_kernel(tmp_path: Path) -> None:
    fits.PrimaryHDU().writeto(tmp_path / "bare.fits")
    with pytest.raises(InputError, match=r"bare\.fits: holds no kernel of a known format.*HOTPANTS.*cube.*image"):
        read_kernel(tmp_path / "bare.fits")
    with pytest.raises(InputError, match=r"none\.fits: no such file"):
        read_kernel(tmp_path / "none.fits[1]")
    (tmp_path / "k.fits").write_text("hello")
    with pytest.raises(InputError, match=r"k\.fits: not a FITS file"):
        read_kernel(tmp_path / "k.fits")
