"""Which format a kernel file has, and the format that is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from click.testing import CliRunner

from diffim_decorr import InputError, read_kernel
from diffim_decorr.cli import run
from diffim_decorr.errors import InputError
from diffim_decorr.io import kernels
from diffim_decorr.io.kernels import read_kernel
from support.command import decorr
from support.files import make_inputs

PIXELS = [(-2, 0), (0, 0), (1, 1), (0, -1)]
COLUMNS = {"X0Y0": [0.1, 0.7, 0.2, 0.05], "X1Y0": [0.0, -0.1, 0.1, 0.0], "X2Y1": [0.02, 0.0, 0.0, 0.01]}


def write_table(path: Path, columns: dict[str, Any] | None = None, **cards: Any) -> Path:
    dx, dy = zip(*PIXELS, strict=True)
    table = Table({"DX": dx, "DY": dy} | COLUMNS | (columns or {}))
    table.meta = {"X0": 50.0, "Y0": 40.0, "XSCALE": 25.0, "YSCALE": 20.0} | cards
    table.write(path)
    return path


# The format that is asked for


def test_the_command_knows_all_formats() -> None:
    names = [known.name for known in kernels._FORMATS]
    for option in ("kernel_format", "sci_kernel_format"):
        (parameter,) = [p for p in run.run.params if p.name == option]
        assert list(parameter.type.choices) == names
    said = CliRunner().invoke(run.run, ["--help"]).output
    assert "--kernel-format" in said


def test_a_format_that_is_asked_for_wins(tmp_path: Path) -> None:
    """A file that two readers take: the table is looked for first, the image only if it is asked for."""
    with fits.open(write_table(tmp_path / "t.fits")) as hdus:
        fits.HDUList([fits.PrimaryHDU(np.eye(3)), hdus[1]]).writeto(tmp_path / "both.fits")
    assert read_kernel(tmp_path / "both.fits").format == "table"
    assert read_kernel(tmp_path / "both.fits", format="image").kernel.sum_at(0, 0) == 3.0
    with pytest.raises(InputError, match="there is no kernel format 'fits'; there are hotpants, sfft, lsst, table"):
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


def test_formats_on_the_command_line(tmp_path: Path) -> None:
    make_inputs(tmp_path)
    line = ["run", "sci.fits", "tmpl.fits", "diff.fits", "--kernel", "kernel.fits", "--overwrite"]
    done = decorr(tmp_path, *line, "--kernel-format", "sfft")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("decorr: error: kernel.fits: holds no solution of SFFT")
    assert done.stderr.count("\n") == 1
    done = decorr(tmp_path, *line, "--pre-conv-kernel", "psf.fits", "--sci-kernel-format", "table")
    assert done.returncode == 3
    assert "psf.fits: holds no table of kernel pixels" in done.stderr
    done = decorr(tmp_path, *line, "--kernel-format", "fits")
    assert done.returncode == 2
    fits.PrimaryHDU().writeto(tmp_path / "empty.fits")
    done = decorr(tmp_path, *line[:4], "--kernel", "empty.fits")
    assert done.returncode == 3
    for name in ("HOTPANTS", "SFFT", "LSST", "table of kernel pixels", "cube of kernel images", "a kernel image"):
        assert name in done.stderr


# Kernel images


def test_files_that_hold_no_kernel(tmp_path: Path) -> None:
    fits.PrimaryHDU().writeto(tmp_path / "bare.fits")
    with pytest.raises(InputError, match=r"bare\.fits: holds no kernel of a known format.*HOTPANTS.*cube.*image"):
        read_kernel(tmp_path / "bare.fits")
    with pytest.raises(InputError, match=r"none\.fits: no such file"):
        read_kernel(tmp_path / "none.fits[1]")
    (tmp_path / "k.fits").write_text("hello")
    with pytest.raises(InputError, match=r"k\.fits: not a FITS file"):
        read_kernel(tmp_path / "k.fits")
