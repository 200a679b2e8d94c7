"""What LSST's own decorrelation makes of the same images, everywhere on the image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import decorrelate, read_exposure, read_kernel
from support.command import told
from support.data import PARITY, needs_parity

pytestmark = needs_parity


@dataclass(frozen=True)
class Case:
    """Files of one kind of difference.

    Where the science image was convolved, the files' roles are swapped: the one named template is the science image.
    """

    science: str
    template: str
    difference: str
    kernel: str = "kernel"

    @property
    def images(self) -> list[Path]:
        return [PARITY / f"{name}.fits" for name in (self.science, self.template, self.difference)]


CASES = {
    "template_convolved": Case("science", "template", "diff_template_convolved"),
    "science_convolved": Case("template", "science", "diff_science_convolved"),
    "score": Case("science", "template", "diff_preconvolved", "kernel_preconvolved"),
}


@pytest.mark.parametrize(("variance", "kind"), [("full", "full"), ("estimate", "estimated")])
@pytest.mark.parametrize("name", CASES)
def test_lsst_makes_the_same_of_it(name: str, variance: str, kind: str) -> None:
    """All pixels of the image to 1e-5 of the noise, and of the variance to 1e-4, edges included."""
    with fits.open(PARITY / f"expected_{name}_{kind}_variance.fits") as hdus:
        image, plane = hdus["IMAGE"].data.astype(float), hdus["VARIANCE"].data.astype(float)
        variances = {"svar": hdus[0].header["SVAR"], "tvar": hdus[0].header["TVAR"]}
    case = CASES[name]
    if name == "score":
        role = {"score": True, "science_kernel": read_kernel(PARITY / "science_psf.fits")}
    else:
        role = {"convolved": name.removesuffix("_convolved")}
    kernel = read_kernel(PARITY / f"{case.kernel}.fits")
    options = {"variance": variance, "replace_planes": (), **variances, **role}
    result = decorrelate(*map(read_exposure, case.images), kernel, **options)
    sigma = np.sqrt(np.median(plane))
    np.testing.assert_allclose(result.exposure.image, image, rtol=0, atol=1e-5 * sigma)
    np.testing.assert_allclose(result.exposure.variance, plane, rtol=1e-4)


@pytest.mark.parametrize("side", ["template", "science"])
def test_background_variances_agree_with_those_of_lsst(tmp_path: Path, side: str) -> None:
    header = fits.getheader(PARITY / f"expected_{side}_convolved_full_variance.fits")
    line = ("run", *CASES[f"{side}_convolved"].images, "--kernel", PARITY / "kernel.fits", "--convolved", side)
    noise = told(tmp_path, *line, "-o", "out.fits")["noise"]
    assert noise["svar"] == pytest.approx(header["SVAR"], rel=0.01)
    assert noise["tvar"] == pytest.approx(header["TVAR"], rel=0.01)
