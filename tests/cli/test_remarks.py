"""What readers remark reaches the user of the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import DecorrWarning, read_kernel
from support.command import quickly


@pytest.fixture
def failed_region(tmp_path: Path) -> Path:
    """A HOTPANTS difference of two regions, in the first of which nothing could be fitted: zeros, and no cards."""
    rng = np.random.default_rng(4)
    science, template = rng.normal(0, 10, (120, 300)), rng.normal(0, 20, (120, 300))
    for name, image in (("sci", science), ("tmpl", template)):
        fits.writeto(tmp_path / f"{name}.fits", image.astype("f4"))
    columns = [fits.Column(f"Region{k}", "D", array=[0.0, float(k), 0.0]) for k in (0, 1)]
    table = fits.BinTableHDU.from_columns(columns, name="Convolution Kernel Information")
    table.header.update({"NGAUSS": 1, "DGAUSS1": 0, "SGAUSS1": 1.2, "FWKERN": 15, "CKORDER": 0, "BGORDER": 0})
    primary = fits.PrimaryHDU((science - template).astype("f4"))
    primary.header.update({"REGION01": "[150:300,1:120]", "CONVOL01": "TEMPLATE", "PHOTNORM": "i"})
    primary.header["DIFFCMD"] = "hotpants -inim sci.fits -tmplim tmpl.fits -outim diff.fits -nrx 2 -nry 1 -hki"
    fits.HDUList([primary, table]).writeto(tmp_path / "diff.fits")
    return tmp_path


def test_a_region_without_a_kernel(failed_region: Path) -> None:
    """On standard error, in JSON and in the header; and from Python a warning."""
    line = ("run", "sci.fits", "tmpl.fits", "diff.fits", "--kernel", "diff.fits", "--svar", 100, "--tvar", 400)
    done = quickly(failed_region, *line, "--json", "-o", "out.fits")
    says = "HOTPANTS found no kernel in region 0"
    assert any(says in text for text in json.loads(done.stdout)["warnings"])
    assert says in done.stderr
    header = fits.getheader(failed_region / "out.fits")
    assert any(says in str(value) for key, value in header.items() if key.startswith("DCWARN"))
    done = quickly(failed_region, "kernel", "show", "diff.fits")
    assert says in done.stderr
    with pytest.warns(DecorrWarning, match=says):
        read_kernel(failed_region / "diff.fits")
