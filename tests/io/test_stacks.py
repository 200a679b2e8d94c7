"""Lists of images that make a difference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import InputError
from diffim_decorr.io.stacks import read_inputs


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("[[science]]\nnoise = 1.0\n", r"\[\[template\]\]"),
        ("nonsense = [", "not a TOML file"),
        ("[[science]]\nnoise = 'a'\n[[template]]\nnoise = 1\n", "wrong type"),
        ("[[science]]\nsigma = 1\n[[template]]\nnoise = 1\n", "unknown key 'sigma'"),
        ("[[science]]\nweight = 1\n[[template]]\nnoise = 1\n", "a file or a noise figure"),
        ("[[science]]\nfile = 'gone.fits'\n[[template]]\nnoise = 1\n", "no such file"),
        ("[[science]]\nfile = 'small.fits'\n[[template]]\nnoise = 1\n", "pixels"),
        ("[[science]]\nnoise = -1\n[[template]]\nnoise = 1\n", "at least 0"),
        ("[[other]]\nnoise = 1\n", "unknown entry 'other'"),
        ("[[science]]\nnoise = 1\nvariance = 'v.fits'\n[[template]]\nnoise = 1\n", "variance needs the file"),
        ("[[science]]\nnoise = 1\nwarp = 'bilinear:v.fits'\n[[template]]\nnoise = 1\n", "warp needs the file"),
        ("[[science]]\nnoise = 1\nwarp = [1]\n[[template]]\nnoise = 1\n", r"warp = \[1\] is of the wrong type"),
        ("[[science]]\nnoise = 1\nnoise_image = []\n[[template]]\nnoise = 1\n", "of the wrong type"),
        (
            "[[science]]\nfile = 'small.fits'\nwarp = 'a:b'\nnoise_image = 'c'\n[[template]]\nnoise = 1\n",
            "warp and noise_image exclude each other",
        ),
    ],
)
def test_bad_lists_of_inputs(tmp_path: Path, text: str, cause: str) -> None:
    fits.PrimaryHDU(np.zeros((5, 6), "f4")).writeto(tmp_path / "small.fits")
    path = tmp_path / "inputs.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=cause) as caught:
        read_inputs(path, (30, 40))
    assert "\n" not in str(caught.value)
