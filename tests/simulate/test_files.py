"""The files of a simulation."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from diffim_decorr import InputError, read_exposure, read_kernel
from diffim_decorr.simulate.files import FILES, MASKVAL, write_simulation
from diffim_decorr.simulate.scene import MASK_PLANES, simulate
from support.simulation import SMALL


def test_files(small, tmp_path):
    outdir = tmp_path / "a" / "b"
    paths = write_simulation(small, outdir)
    assert sorted(path.name for path in outdir.iterdir()) == sorted(FILES.values())
    if shutil.which("fitsverify"):
        for path in paths.values():
            report = subprocess.run(["fitsverify", "-q", path], capture_output=True, text=True, check=False).stdout
            assert "verification OK" in report

    for name in ("science", "template"):
        with fits.open(paths[name], checksum=True) as hdus:
            assert [hdu.name for hdu in hdus] == ["PRIMARY", "IMAGE", "MASK", "VARIANCE"]
            assert np.array_equal(hdus["IMAGE"].data, getattr(small, name), equal_nan=True)
            assert np.array_equal(hdus["VARIANCE"].data, getattr(small, f"{name}_variance"), equal_nan=True)
            assert np.array_equal(hdus["MASK"].data, getattr(small, f"{name}_mask"))
            assert {key[3:]: bit for key, bit in hdus["MASK"].header.items() if key[:3] == "MP_"} == MASK_PLANES
            assert WCS(hdus["IMAGE"].header).pixel_to_world_values(79.5, 71.5) == pytest.approx((150.0, 2.2))
        psf = fits.getdata(paths[f"{name}_psf"])
        assert psf.sum(dtype=float) == pytest.approx(1, abs=1e-6)

    with fits.open(paths["truth"], checksum=True) as hdus:
        table = hdus["TRUTH"]
        assert table.columns["X"].unit == "pix"
        assert table.columns["FLUX_DIFFERENCE"].unit == "adu"
        for field in dataclasses.fields(small.truth):
            assert np.array_equal(table.data[field.name], getattr(small.truth, field.name))

    with fits.open(paths["difference"], checksum=True) as hdus:
        missing = hdus[0].data == np.float32(MASKVAL)
        assert np.array_equal(missing, np.isnan(small.difference))
        assert np.array_equal(hdus[0].data[~missing], small.difference[~missing])


@pytest.mark.parametrize(("convolved", "card"), [("template", "TEMPLATE"), ("science", "IMAGE")])
def test_hotpants_form(convolved, card, tmp_path):
    """The kernel, evaluated from the file as HOTPANTS' own function make_kernel does it."""
    s = simulate(dataclasses.replace(SMALL, convolved=convolved, kernel_sum=1.2))
    paths = write_simulation(s, tmp_path)
    for name in ("difference", "kernel"):
        with fits.open(paths[name], checksum=True) as hdus:
            cards, header, vector = hdus[0].header, hdus[-1].header, hdus[-1].data["Region0"]
            assert (cards["CONVOL00"], cards["PHOTNORM"], cards["NREGION"]) == (card, "i", 1)
            assert cards["REGION00"] == "[1:160,1:144]"
            assert hdus[0].data is None if name == "kernel" else hdus[0].data.shape == (144, 160)
            width, order = header["FWKERN"], header["CKORDER"]
            u = np.arange(width) - width // 2
            x, y = 30, 101
            xf, yf = (x - 0.5 * 160) / (0.5 * 160), (y - 0.5 * 144) / (0.5 * 144)
            basis = []
            for g in range(1, header["NGAUSS"] + 1):
                gauss = np.exp(-(u**2) * np.float32(1 / (2 * header[f"SGAUSS{g}"] ** 2)).astype(float))
                for i in range(header[f"DGAUSS{g}"] + 1):
                    for j in range(header[f"DGAUSS{g}"] - i + 1):
                        fx, fy = gauss * u**i, gauss * u**j
                        even = i % 2 == 0 and j % 2 == 0
                        image = np.outer(fy / fy.sum(), fx / fx.sum()) if even else np.outer(fy, fx)
                        basis.append(image - basis[0] if basis and even else image)
            kernel, k = vector[1] * basis[0], 2
            for image in basis[1:]:
                for a in range(order + 1):
                    for b in range(order - a + 1):
                        kernel = kernel + vector[k] * xf**a * yf**b * image
                        k += 1
            # As many numbers as HOTPANTS sets aside, the first basis image having a whole block of them.
            assert len(vector) == 1 + len(basis) * (order + 1) * (order + 2) // 2 + 1
            assert not np.any(vector[k:])
            assert np.abs(kernel - s.kernel.at(x, y)).max() < 1e-14


@pytest.mark.parametrize("kernel_format", ["hotpants", "grid"])
@pytest.mark.parametrize("convolved", ["template", "science"])
def test_kernel_file_reads_back(convolved, kernel_format, tmp_path):
    s = simulate(dataclasses.replace(SMALL, convolved=convolved, kernel_sum=1.2))
    paths = write_simulation(s, tmp_path, kernel_format)
    matching = read_kernel(paths["kernel"], SMALL.shape)
    assert matching.format == kernel_format
    if kernel_format == "hotpants":
        assert matching.convolved == (convolved,)
        assert matching.normalized == (convolved == "science",)
    else:
        assert np.array_equal(fits.getdata(paths["difference"]), s.difference, equal_nan=True)
    x, y = (axis.ravel() for axis in np.meshgrid(np.linspace(0, 159, 33), np.linspace(0, 143, 33)))
    truth, read = s.kernel.sample(x, y), matching.kernel.sample(x, y)
    # Half-way between 17 nodes over [-1, 1], (1 / 8)² / 8 of the second derivatives, which may be 4 of the amplitude
    # of a quadratic polynomial along each axis.
    tolerance = 2 * 4 * (1 / 8) ** 2 / 8 * np.ptp(truth, axis=0).max() if kernel_format == "grid" else 1e-14
    assert np.abs(read - truth).max() < tolerance
    constant = simulate(dataclasses.replace(SMALL, kernel_variation=0.0))
    paths = write_simulation(constant, tmp_path, kernel_format, overwrite=True)
    assert read_kernel(paths["kernel"], SMALL.shape).kernel.is_constant


def test_exposures_read_back(small, tmp_path):
    paths = write_simulation(small, tmp_path)
    science = read_exposure(paths["science"])
    assert np.array_equal(science.image, small.science, equal_nan=True)
    assert np.array_equal(science.variance, small.science_variance, equal_nan=True)
    assert np.array_equal(science.mask, small.science_mask)
    assert dict(science.mask_planes) == MASK_PLANES
    difference = read_exposure(paths["difference"])
    assert difference.missing_value == MASKVAL
    missing = np.isnan(small.difference)
    assert np.array_equal(difference.image[~missing], small.difference[~missing])


def test_refuses_to_overwrite(small, tmp_path):
    (tmp_path / "truth.fits").write_text("mine")
    with pytest.raises(InputError, match=r"truth\.fits: exists already"):
        write_simulation(small, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["truth.fits"]
    write_simulation(small, tmp_path, overwrite=True)
    assert len(list(tmp_path.iterdir())) == len(FILES)
    with pytest.raises(InputError, match="is not a directory"):
        write_simulation(small, tmp_path / "truth.fits")
