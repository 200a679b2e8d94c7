"""Which pixels can be used: in Python, and by the mask of an output."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sep
from astropy.io import fits

from diffim_decorr import Exposure, read_exposure
from support.command import succeed
from support.files import INPUTS, LAYOUTS, WHERE
from support.kernels import gaussian
from support.noise import PLANES


def test_what_makes_a_pixel_unusable() -> None:
    image, variance, mask = np.ones((4, 8)), np.ones((4, 8)), np.zeros((4, 8), "i4")
    image[0, 0], variance[0, 1], variance[0, 2], variance[0, 3] = np.nan, np.inf, 0.0, np.nan
    for k, name in enumerate(PLANES):
        mask[1, k % 8] = 1 << PLANES[name]
        usable = Exposure(image, variance, mask, mask_planes=PLANES).usable()
        assert usable[1, k % 8] == (name in ("INTRP", "DETECTED", "DETECTED_NEGATIVE")), name
        mask[1] = 0
    assert not usable[0, :4].any()
    assert usable[2:].all()
    mask[2, 2] = 1 << PLANES["INTRP"]
    exposure = Exposure(image, variance, mask, mask_planes=PLANES)
    assert exposure.usable()[2, 2]
    assert not exposure.usable(["INTRP"])[2, 2]
    assert Exposure(np.arange(6.0).reshape(2, 3)).usable().all()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_bits_of_an_output(folder: Path, layout: str) -> None:
    """One card says them, in every layout, and sep finds a source that an input has flagged as detected."""
    for name in ("sci", "diff"):
        with fits.open(folder / f"{name}.fits", mode="update") as hdus:
            hdus[name == "sci"].data[45:54, 20:29] += 1000 * gaussian(9, 1.6).astype("f4")
            if name == "sci":
                hdus["MASK"].data[47:52, 22:27] |= 1 << PLANES["DETECTED"]
    succeed(folder, "run", *INPUTS, "-o", "out.fits", "--layout", layout, "-q")
    (_, image_hdu), (added, hdu), _ = WHERE[layout]
    mask, header = fits.getdata(folder / f"out{added}.fits", hdu, header=True)
    unusable = (mask & header["UNUSABLE"]) != 0
    image = fits.getdata(folder / "out.fits", image_hdu).astype("f4")
    files = {} if layout != "flat" else {"mask": folder / "out_mask.fits", "variance": folder / "out_variance.fits"}
    assert np.array_equal(~read_exposure(folder / "out.fits", **files).usable(), unusable | ~np.isfinite(image))
    found = sep.extract(np.nan_to_num(image), 5.0, err=2.5, mask=unusable)
    assert len(found) == 1
    assert (found["x"][0], found["y"][0]) == pytest.approx((24, 49), abs=0.5)
    assert len(sep.extract(np.nan_to_num(image), 5.0, err=2.5, mask=mask != 0)) == 0
