"""Files of several exposures."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import Exposure, InputError, decorrelate, read_exposure, read_kernel, read_psi
from diffim_decorr.io.extensions import Place
from diffim_decorr.io.output.mosaic import MosaicFile
from support.command import decorr, succeed
from support.files import INPUTS, LAYOUTS, SHAPE, WHERE, make_inputs, verified
from support.kernels import gaussian
from support.reference import convolved

CCDS = ("S29", "S30", "N1")


@pytest.fixture(scope="module")
def mosaic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three CCDs of a camera, as NOIRLab's pipeline writes them: images, weights and data quality by themselves."""
    folder = tmp_path_factory.mktemp("mosaic")
    rng = np.random.default_rng(5)
    names = ("sci", "tmpl", "diff", "kernel", "weight", "dq")
    files: dict[str, fits.HDUList] = {name: fits.HDUList([fits.PrimaryHDU()]) for name in names}
    for name in ("sci", "tmpl", "diff"):
        files[name][0].header.update({"INSTRUME": "DECam", "PROCTYPE": "InstCal", "OBJECT": "field 7"})
    files["dq"][0].header.update({"PRODTYPE": "dqmask", "PLVER": "V4.8.2a"})
    for number, ccd in enumerate(CCDS, 1):
        kernel = gaussian(9, 0.8 + 0.3 * number)
        science, template = rng.normal(0, number, SHAPE), rng.normal(0, 1.0, SHAPE)
        pixels = {
            "sci": science, "tmpl": template, "diff": science - convolved(template, kernel),
            "kernel": kernel, "weight": np.full(SHAPE, number**-2.0), "dq": np.zeros(SHAPE, "i2"),
        }  # fmt: skip
        # Codes: saturated, a cosmic ray, something that was not there in other exposures.
        pixels["dq"][30, 40], pixels["dq"][31, 40], pixels["dq"][50, 50] = 3, 5, 7
        for name, array in pixels.items():
            files[name].append(fits.ImageHDU(array.astype("i2" if name == "dq" else "f4"), name=ccd))
        files["diff"][-1].header.update(
            {"CCDNUM": number, "CRPIX1": 100.0 * number, "CRPIX2": 40.5, "CTYPE1": "RA---TAN"}
        )
        files["diff"][-1].header.update({"CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0})
        files["diff"][-1].header.update({"CD1_1": -7e-5, "CD2_2": 7e-5})
    for name, hdus in files.items():
        hdus.writeto(folder / f"{name}.fits")
    return folder


ALL = (*INPUTS, "--sci-weight", "weight.fits", "--sci-mask", "dq.fits", "--tvar", "1")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_ccd_of_a_mosaic(mosaic: Path, tmp_path: Path, layout: str) -> None:
    """The same pixels as each CCD by itself, with its own weight, mask and kernel."""
    output = tmp_path / f"{layout}.fits"
    done = succeed(mosaic, "run", *ALL, "--all-ext", "--layout", layout, "-o", str(output))
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["verdict", "output", *CCDS, "seconds"]
    primary = fits.getheader(output)
    assert (primary["OBJECT"], primary["DCNEXT"]) == ("field 7", 3)
    for number, ccd in enumerate(CCDS, 1):
        alone = tmp_path / f"{ccd}.fits"
        succeed(mosaic, "run", *ALL, "--ext", ccd, "-q", "-o", str(alone))
        assert fits.getheader(alone)["DCSVAR"] == pytest.approx(number**2)
        for (suffix, hdu), name in zip(WHERE[layout], ("IMAGE", "MASK", "VARIANCE"), strict=True):
            where = ccd if layout == "flat" else (hdu, number)
            plane, header = fits.getdata(tmp_path / f"{layout}{suffix}.fits", where, header=True)
            wanted = fits.getdata(alone, name)
            np.testing.assert_allclose(np.square(plane) if hdu == "ERR" else plane, wanted, rtol=2e-7)
            assert header["CRPIX1"] == 100.0 * number
            if name == "IMAGE":
                assert (header["DCEXT"], header["CCDNUM"], header["DCSVAR"]) == (ccd, number, pytest.approx(number**2))
        psi = tmp_path / ("flat_psi.fits" if layout == "flat" else output.name)
        np.testing.assert_array_equal(fits.getdata(psi, ("PSI_BASIS", number)), fits.getdata(alone, "PSI_BASIS"))
        assert read_psi(f"{psi}[PSI_BASIS,{number}]").variance == read_psi(alone).variance
        if layout != "flat":
            again = read_exposure(f"{output}[{WHERE[layout][0][1]},{number}]")
            np.testing.assert_array_equal(again.mask, fits.getdata(alone, "MASK"))
    for path in tmp_path.glob(f"{layout}*"):
        verified(path)


def test_masks_of_the_mosaic(mosaic: Path, tmp_path: Path) -> None:
    """NOIRLab's codes: a saturated pixel and a cosmic ray are replaced, a transient is not."""
    succeed(mosaic, "run", *ALL, "--ext", "S30", "--bad-fraction", "1e-4", "-q", "-o", str(tmp_path / "out.fits"))
    mask, header = fits.getdata(tmp_path / "out.fits", "MASK", header=True)
    for name, (y, x) in {"SAT": (30, 40), "CR": (31, 40), "TRANSIENT": (50, 50)}.items():
        assert np.argwhere(mask >> header[f"MP_{name}"] & 1).tolist() == [[y, x]]
    assert mask[30, 41] >> header["MP_DECORR_BAD"] & 1
    assert not mask[50, 51] >> header["MP_DECORR_BAD"] & 1


def spoilt(name: str, ccd: str, pixels: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        with fits.open(folder / f"{name}.fits", mode="update") as hdus:
            hdus[ccd].data = pixels(hdus[ccd].data)

    return change


def renamed(folder: Path) -> None:
    with fits.open(folder / "tmpl.fits", mode="update") as hdus:
        hdus["S30"].name = "S31"


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (spoilt("sci", "S30", lambda data: data * np.nan), "sci.fits[S30]: not one pixel of the image holds data"),
        (spoilt("diff", "S30", lambda data: data[1:]), "sci.fits[S30]: has 96 x 80 pixels, but the difference"),
        (spoilt("weight", "S30", lambda data: data[1:]), "weight.fits[S30]: has 96 x 79 pixels, but"),
        (spoilt("kernel", "S30", lambda data: 0 * data), "kernel.fits[S30]: the kernel holds nothing but zeros"),
        (renamed, "tmpl.fits: there is no HDU [S30]"),
    ],
)
def test_a_ccd_that_fails_does_not_take_the_others(
    mosaic: Path, tmp_path: Path, spoil: Callable[[Path], None], says: str
) -> None:
    folder = tmp_path / "inputs"
    shutil.copytree(mosaic, folder)
    succeed(folder, "run", *ALL, "--all-ext", "-q", "-o", "whole.fits")
    spoil(folder)
    done = succeed(folder, "run", *ALL, "--all-ext", "--json", "-o", "out.fits", status=3)
    lines = done.stderr.splitlines()
    assert lines[0].startswith(f"decorr: error: {says}")
    assert lines[-1] == "decorr: error: out.fits: written without S30, 1 of 3 HDUs"
    said = json.loads(done.stdout)
    assert [(e["extension"], e["version"]) for e in said["extensions"]] == [("S29", 1), ("N1", 3)]
    assert said["failed"] == [{"extension": "S30", "error": lines[0].removeprefix("decorr: error: ")}]
    assert all(e["qa"]["snr_std"] for e in said["extensions"])
    with fits.open(folder / "out.fits") as hdus, fits.open(folder / "whole.fits") as whole:
        assert hdus[0].header["DCNEXT"] == 2
        assert hdus[0].header["DCFAIL1"].startswith(f"S30: {says}")
        for version in (1, 3):
            np.testing.assert_array_equal(hdus["IMAGE", version].data, whole["IMAGE", version].data)
        assert ("IMAGE", 2) not in hdus
    verified(folder / "out.fits")


def test_failure_in_the_middle_of_the_pixels(mosaic: Path, tmp_path: Path) -> None:
    """What was written of an exposure is taken back."""

    def steps(output: MosaicFile, number: int, broken: bool) -> None:
        science, template, difference = (
            read_exposure(mosaic / f"{name}.fits[{CCDS[number - 1]}]") for name in ("sci", "tmpl", "diff")
        )
        kernel = read_kernel(mosaic / f"kernel.fits[{CCDS[number - 1]}]")
        result = decorrelate(science, template, difference, kernel, svar=1.0, tvar=1.0)
        with output.section(result.product, Place(number, CCDS[number - 1], 1)) as section:
            section.write(0, result.exposure.image, result.exposure.mask, result.exposure.variance)
            if broken:
                raise InputError("damaged")
            section.finish(None)

    path = str(tmp_path / "out.fits")
    with MosaicFile.create(path, str(mosaic / "diff.fits"), overwrite=False, layout="lsst") as output:
        steps(output, 1, False)
        with pytest.raises(InputError, match="damaged"):
            steps(output, 2, True)
        steps(output, 3, False)
        output.finish({"S30": "damaged"})
    with fits.open(path, checksum=True) as hdus:
        assert [hdu.ver for hdu in hdus if hdu.name == "IMAGE"] == [1, 3]
        assert all(hdu.verify_checksum() == 1 for hdu in hdus)


def test_nothing_is_written_if_all_fail(mosaic: Path, tmp_path: Path) -> None:
    fits.writeto(tmp_path / "sci.fits", np.zeros(SHAPE))
    files = [str(mosaic / name) for name in ("tmpl.fits", "diff.fits")]
    args = (*files, "--kernel", str(mosaic / "kernel.fits"), "--all-ext", "-o", "out.fits")
    done = succeed(tmp_path, "run", "sci.fits", *args, status=3)
    assert "out.fits: not written, for not one of 3 HDUs could be used" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sci.fits"]


def test_one_kernel_for_all(mosaic: Path, tmp_path: Path) -> None:
    fits.writeto(tmp_path / "one.fits", gaussian(9, 1.1))
    succeed(
        mosaic,
        "run",
        *ALL[:3],
        "--kernel",
        str(tmp_path / "one.fits"),
        *ALL[5:],
        "--all-ext",
        "-q",
        "-o",
        str(tmp_path / "o"),
    )
    cards = [fits.getheader(tmp_path / "o", ("IMAGE", k))["DCKERNEL"] for k in (1, 2, 3)]
    assert len(set(cards)) == 1


def test_exposures_without_names(tmp_path: Path) -> None:
    """By their numbers."""
    make_inputs(tmp_path)
    for name in ("sci", "tmpl", "diff"):
        with fits.open(tmp_path / f"{name}.fits") as hdus:
            pixels = next(hdu.data for hdu in hdus if hdu.data is not None)
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(pixels), fits.ImageHDU(2 * pixels)]).writeto(
            tmp_path / f"{name}.fits", overwrite=True
        )
    succeed(tmp_path, "run", *INPUTS, "--all-ext", "-q", "-o", "all.fits")
    succeed(tmp_path, "run", *INPUTS, "--ext", "2", "-q", "-o", "two.fits")
    with fits.open(tmp_path / "all.fits") as hdus, fits.open(tmp_path / "two.fits") as two:
        assert [hdus["IMAGE", k].header["DCEXT"] for k in (1, 2)] == ["1", "2"]
        np.testing.assert_array_equal(hdus["IMAGE", 2].data, two["IMAGE"].data)


def test_versions_and_companions(tmp_path: Path) -> None:
    """A file of two chips as HST has it: (SCI, ERR, DQ) twice."""
    make_inputs(tmp_path)
    for name in ("sci", "tmpl", "diff"):
        with fits.open(tmp_path / f"{name}.fits") as hdus:
            pixels = next(hdu.data for hdu in hdus if hdu.data is not None)
        out = fits.HDUList([fits.PrimaryHDU()])
        for k in (1, 2):
            for hdu, data in (
                ("SCI", k * pixels),
                ("ERR", np.full(SHAPE, 2.0 * k, "f4")),
                ("DQ", np.zeros(SHAPE, "i2")),
            ):
                out.append(fits.ImageHDU(data, name=hdu, ver=k))
        out.writeto(tmp_path / f"{name}.fits", overwrite=True)
    done = succeed(tmp_path, "run", *INPUTS, "--all-ext", "--json", "-o", "out.fits")
    said = json.loads(done.stdout)["extensions"]
    assert [(e["extension"], e["noise"]["svar"]) for e in said] == [("SCI", 4.0), ("SCI,2", 16.0)]


@pytest.mark.parametrize(
    ("args", "status", "says"),
    [
        (("--ext", "S29", "--all-ext"), 2, "--ext and --all-ext exclude each other"),
        (("--layout", "fancy"), 2, "fancy"),
        (("--ext", "S99"), 3, "sci.fits: there is no HDU [S99]; the file has 0 PRIMARY, 1 S29"),
    ],
)
def test_usage(mosaic: Path, tmp_path: Path, args: tuple[str, ...], status: int, says: str) -> None:
    done = succeed(mosaic, "run", *ALL, *args, "-o", str(tmp_path / "out.fits"), status=status)
    assert says in done.stderr
    assert not list(tmp_path.iterdir())


def test_all_hdus_and_one_of_them(mosaic: Path, tmp_path: Path) -> None:
    args = ("sci.fits[S29]", *ALL[1:], "--all-ext", "-o", str(tmp_path / "out.fits"))
    done = succeed(mosaic, "run", *args, status=2)
    assert "--all-ext takes all HDUs, but sci.fits[S29] names one" in done.stderr


def test_a_companion_of_another_ccd_is_not_taken(mosaic: Path, tmp_path: Path) -> None:
    with fits.open(mosaic / "weight.fits") as hdus:
        hdus["S30"].name = "N30"
        hdus.writeto(tmp_path / "weight.fits")
    args = (*INPUTS, "--sci-weight", str(tmp_path / "weight.fits"), "--ext", "S30", "-o", str(tmp_path / "out.fits"))
    done = succeed(mosaic, "run", *args, status=3)
    assert "weight.fits: none of its 3 images is [S30,1], as the image it belongs to" in done.stderr


def test_the_real_executable(mosaic: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.fits.fz"
    done = decorr(mosaic, "run", *ALL, "--all-ext", "--layout", "sci-err-dq", "-q", "-o", output)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert isinstance(read_exposure(f"{output}[SCI,3]"), Exposure)
