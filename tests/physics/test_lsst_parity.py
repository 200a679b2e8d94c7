"""What LSST's own decorrelation makes of the same images, everywhere on the image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import decorrelate, read_exposure, read_kernel
from support.command import told

LSST = Path(__file__).resolve().parents[2] / "shared" / "data" / "lsst_parity"
needs_lsst = pytest.mark.skipif(not LSST.is_dir(), reason="the data folder shared/data/lsst_parity is absent")


@needs_lsst
@pytest.mark.parametrize("variance", ["full", "estimate"])
@pytest.mark.parametrize("side", ["template", "science"])
def test_lsst_makes_the_same_of_it(side: str, variance: str) -> None:
    kind = {"full": "full", "estimate": "estimated"}[variance]
    with fits.open(LSST / f"expected_{side}_convolved_{kind}_variance.fits") as hdus:
        image, plane = hdus["IMAGE"].data.astype(float), hdus["VARIANCE"].data.astype(float)
        svar, tvar = hdus[0].header["SVAR"], hdus[0].header["TVAR"]
    names = ["science", "template"] if side == "template" else ["template", "science"]
    inputs = [read_exposure(LSST / f"{name}.fits") for name in (*names, f"diff_{side}_convolved")]
    result = decorrelate(
        *inputs,
        read_kernel(LSST / "kernel.fits"),
        convolved=side,
        svar=svar,
        tvar=tvar,
        variance=variance,
        replace_planes=(),
    )
    sigma = np.sqrt(np.median(plane))
    assert np.abs(result.exposure.image - image).max() <= 1e-4 * sigma
    inside = slice(40, -40), slice(40, -40)
    assert np.percentile(np.abs(result.exposure.variance / plane - 1)[inside], 99) <= 1e-3


@needs_lsst
@pytest.mark.parametrize("side", ["template", "science"])
def test_background_variances_agree_with_those_of_lsst(tmp_path: Path, side: str) -> None:
    header = fits.getheader(LSST / f"expected_{side}_convolved_full_variance.fits")
    names = ["science", "template"] if side == "template" else ["template", "science"]
    inputs = [LSST / f"{name}.fits" for name in (*names, f"diff_{side}_convolved")]
    options = ("--kernel", LSST / "kernel.fits", "--convolved", side, "-o", tmp_path / "out.fits")
    noise = told(tmp_path, "run", *inputs, *options)["noise"]
    assert noise["svar"] == pytest.approx(header["SVAR"], rel=0.01)
    assert noise["tvar"] == pytest.approx(header["TVAR"], rel=0.01)
