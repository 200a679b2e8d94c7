"""Layouts of the output and files of several exposures: what others find in them, and that nothing else differs."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sep
from astropy.io import fits
from astropy.wcs import WCS
from command import INPUTS, PLANES, SHAPE, decorr, listing, make_inputs, quickly, write_exposure
from reference import convolved, gaussian, noise_pair

from diffim_decorr import Exposure, decorrelate, read_exposure, read_kernel, read_psf, read_psi

LAYOUTS = ("lsst", "sci-err-dq", "flat")
ENDINGS = (".fits", ".fits.fz", ".fits.gz")
# Where the image, the mask and the variance or standard deviation are.
WHERE = {
    "lsst": (("", "IMAGE"), ("", "MASK"), ("", "VARIANCE")),
    "sci-err-dq": (("", "SCI"), ("", "DQ"), ("", "ERR")),
    "flat": (("", 0), ("_mask", 0), ("_variance", 0)),
}
CCDS = ("S29", "S30", "N1")


def run(folder: Path, *args: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = quickly(folder, "run", *args)
    assert done.returncode == status, done.stderr
    return done


def verified(path: Path) -> None:
    """fitsverify has nothing to say."""
    command = shutil.which("fitsverify")
    if command is None:
        pytest.skip("there is no fitsverify")
    if path.suffix == ".gz":
        unpacked = path.with_suffix("")
        unpacked.write_bytes(gzip.decompress(path.read_bytes()))
        path = unpacked
    done = subprocess.run([command, path], capture_output=True, text=True, check=False)
    assert "Verification found 0 warning(s) and 0 error(s)" in done.stdout, done.stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One difference in every layout, and plain and compressed."""
    folder = tmp_path_factory.mktemp("layouts")
    make_inputs(folder)
    for layout in LAYOUTS:
        for ending in ENDINGS:
            run(folder, *INPUTS, "--psf", "psf.fits", "--layout", layout, "-q", "-o", f"{layout}{ending}")
    return folder


def planes(folder: Path, layout: str, ending: str = ".fits") -> tuple[np.ndarray, ...]:
    """Image, mask and variance, as a user would get them."""
    found = []
    for suffix, hdu in WHERE[layout]:
        with fits.open(folder / f"{layout}{suffix}{ending}") as hdus:
            # Compressed images cannot be in the primary HDU.
            found.append(hdus[1 if hdu == 0 and ending == ".fits.fz" else hdu].data)
    image, mask, variance = found
    return image, mask, np.square(variance) if layout == "sci-err-dq" else variance


# What is in them


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_pixels_are_the_same_in_every_layout(made: Path, layout: str, ending: str) -> None:
    for plane, wanted in zip(planes(made, layout, ending), planes(made, "lsst"), strict=True):
        assert plane.dtype.newbyteorder("=") == wanted.dtype.newbyteorder("=")
        np.testing.assert_allclose(plane, wanted, rtol=2e-7 if wanted.dtype.kind == "f" else 0)
    np.testing.assert_array_equal(planes(made, layout, ending)[0], planes(made, "lsst")[0])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pixels_are_those_of_the_python_api(made: Path, layout: str) -> None:
    images = [read_exposure(made / name) for name in INPUTS[:3]]
    psf = read_psf(made / "psf.fits")
    result = decorrelate(*images, read_kernel(made / "kernel.fits"), psf=psf).exposure
    image, mask, variance = planes(made, layout)
    np.testing.assert_array_equal(image, result.image)
    np.testing.assert_array_equal(mask, result.mask)
    np.testing.assert_allclose(variance, result.variance, rtol=2e-7)


def test_hdus(made: Path) -> None:
    names = {}
    for path in sorted(path for layout in LAYOUTS for path in made.glob(f"{layout}*.fits")):
        with fits.open(path, checksum=True) as hdus:
            names[path.stem] = [hdu.name for hdu in hdus]
            for hdu in hdus:
                assert hdu.verify_checksum() == hdu.verify_datasum() == 1
    rest = ["PSI_BASIS", "PSI_COEFFS", "PSF", "QA"]
    assert names["lsst"] == ["PRIMARY", "IMAGE", "MASK", "VARIANCE", *rest]
    assert names["sci-err-dq"] == ["PRIMARY", "SCI", "ERR", "DQ", *rest]
    assert names["flat"] == names["flat_mask"] == names["flat_variance"] == ["PRIMARY"]
    assert names["flat_psi"] == ["PRIMARY", *rest]
    assert fits.getheader(made / "sci-err-dq.fits", "ERR")["BUNIT"] == "adu"
    assert fits.getheader(made / "flat_variance.fits")["BUNIT"] == "(adu)**2"
    assert fits.getheader(made / "flat_mask.fits")["MP_SAT"] == PLANES["SAT"]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_fitsverify(made: Path, layout: str, ending: str) -> None:
    paths = [path for path in made.glob(f"{layout}*{ending}") if path.name.endswith(ending)]
    assert len(paths) == (4 if layout == "flat" else 1)
    for path in paths:
        verified(path)


def test_provenance_is_the_same(made: Path) -> None:
    wanted = fits.getheader(made / "lsst.fits")
    for path, hdu in (("sci-err-dq.fits", 0), ("flat.fits", 0), ("flat.fits.fz", 1), ("flat_psi.fits", "PSI_BASIS")):
        header = fits.getheader(made / path, hdu)
        for card in (key for key in wanted if key.startswith("DC") and key != "DCDATE"):
            assert header[card] == wanted[card], (path, card)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_outputs_are_read_again(made: Path, layout: str) -> None:
    options = {}
    if layout == "flat":
        options = {key: made / f"flat_{key}.fits" for key in ("variance", "mask")} | {"psf": made / "flat_psi.fits"}
    exposure = read_exposure(made / f"{layout}.fits", **options)
    image, mask, variance = planes(made, layout)
    np.testing.assert_array_equal(exposure.image, image)
    np.testing.assert_array_equal(exposure.mask, mask)
    np.testing.assert_allclose(exposure.variance, variance, rtol=1e-6)
    assert exposure.mask_planes["SAT"] == PLANES["SAT"]
    np.testing.assert_allclose(exposure.psf, fits.getdata(made / "lsst.fits", "PSF"), rtol=1e-6)


def test_psi_is_read_from_every_layout(made: Path) -> None:
    wanted = read_psi(made / "lsst.fits")
    for name in ("sci-err-dq.fits", "flat_psi.fits"):
        psi = read_psi(made / name)
        np.testing.assert_array_equal(psi.kernel.basis, wanted.kernel.basis)
        assert (psi.variance, psi.bad_fraction) == (wanted.variance, wanted.bad_fraction)


# Header and WCS

CARDS = [
    "CTYPE1  = 'RA---TPV'           / projection of axis 1",
    "CTYPE2  = 'DEC--TPV'",
    "CRVAL1  =          1.50117000D+02 / written by something old",
    "CRVAL2  =    2.205000000000000000",
    "CRPIX1  =                    48.5 /the middle",
    "CRPIX2  =               4.0500E01",
    "CUNIT1  = 'deg     '",
    "CUNIT2  = 'deg     '",
    "CD1_1   =    -5.5E-05",
    "CD1_2   =     1.0E-06",
    "CD2_1   =     1.0E-06",
    "CD2_2   =     5.5E-05",
    "PV1_0   =                 1.1E-04",
    "PV1_1   =       1.000000000001230",
    "PV2_1   =                0.999998",
    "PV2_7   =                   3E-03",
    "RADESYS = 'FK5     '           / as it was",
    "EQUINOX =                  2000.0",
    "LONPOLE =                   180.0",
]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_wcs_is_not_touched(tmp_path: Path, layout: str, ending: str) -> None:
    """Every card of it is the same to the byte, in every plane, and sky positions are equal."""
    make_inputs(tmp_path)
    pixels = fits.getdata(tmp_path / "diff.fits")
    cards = b"".join(card.encode().ljust(80) for card in CARDS)
    header = fits.PrimaryHDU(pixels).header.tostring(endcard=False, padding=False).encode() + cards + b"END".ljust(80)
    data = pixels.astype(">f4").tobytes()
    (tmp_path / "diff.fits").write_bytes(
        header + bytes(-len(header) % 2880).replace(b"\0", b" ") + data + bytes(-len(data) % 2880)
    )
    run(tmp_path, *INPUTS, "--layout", layout, "-q", "-o", f"{layout}{ending}")
    before = WCS(fits.getheader(tmp_path / "diff.fits"))
    x, y = np.array([0.0, 95, 13.5]), np.array([0.0, 79, 60.2])
    for suffix, hdu in WHERE[layout]:
        path = tmp_path / f"{layout}{suffix}{ending}"
        with fits.open(path) as hdus:
            found = hdus[1 if hdu == 0 and ending == ".fits.fz" else hdu].header
            assert {card.rstrip() for card in CARDS} <= {str(card).rstrip() for card in found.cards}
            np.testing.assert_array_equal(WCS(found).all_pix2world(x, y, 0), before.all_pix2world(x, y, 0))
        verified(path)


# Other tools


@pytest.mark.parametrize("layout", LAYOUTS)
def test_detection_with_sep(tmp_path: Path, layout: str) -> None:
    """Every star is found, where it is, with its flux, and hardly anything else."""
    shape, places = (300, 320), [(60, 70), (160, 90), (250, 60), (90, 210), (230, 220)]
    science, template = noise_pair(3, shape, 1.0, 1.0)
    psf, kernel = gaussian(25, 1.6), gaussian(15, 1.3)
    for x, y in places:
        science[y - 12 : y + 13, x - 12 : x + 13] += 400.0 * psf
    mask = np.zeros(shape, "i4")
    mask[140:150, 140:150] = 1 << PLANES["SAT"]
    science[140:150, 140:150] = 1e5
    for name, image in (("sci", science), ("tmpl", template)):
        write_exposure(tmp_path / f"{name}.fits", image.astype("f4"), mask, np.ones(shape, "f4"))
    fits.writeto(tmp_path / "diff.fits", (science - convolved(template, kernel)).astype("f4"))
    fits.writeto(tmp_path / "kernel.fits", kernel)
    fits.writeto(tmp_path / "psf.fits", psf)
    run(tmp_path, *INPUTS, "--psf", "psf.fits", "--layout", layout, "-q", "-o", f"{layout}.fits")
    image, flags, variance = (plane.astype(plane.dtype.newbyteorder("=")) for plane in planes(tmp_path, layout))
    corrected = read_psf(tmp_path / ("flat_psi.fits" if layout == "flat" else f"{layout}.fits"))
    middle = corrected.shape[0] // 2
    matched = np.ascontiguousarray(corrected[middle - 4 : middle + 5, middle - 4 : middle + 5])
    usable = sum(1 << PLANES[name] for name in ("SAT", "NO_DATA", "EDGE"))
    objects = sep.extract(
        image, 5.0, var=variance, mask=(flags & usable) != 0, filter_kernel=matched, filter_type="matched", minarea=1
    )
    found = [(o["x"], o["y"]) for o in objects]
    for x, y in places:
        assert min(np.hypot(x - a, y - b) for a, b in found) < 0.5
    # 1e5 independent trials at 5 sigma: 0.03 false ones are expected.
    assert len(objects) == len(places)
    flux, error, _ = sep.sum_circle(image, *np.array(places, float).T, 6.0, var=variance)
    assert (np.abs(flux - 400.0) < 5 * error).all()
    assert (error < 30).all()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_first_image_is_the_difference(made: Path, layout: str) -> None:
    """What fits.getdata, sep and DS9 take without being told."""
    with fits.open(made / f"{layout}.fits") as hdus:
        first = next(hdu.data for hdu in hdus if hdu.data is not None)
    np.testing.assert_array_equal(first, planes(made, "lsst")[0])


# Whole or not at all


@pytest.mark.parametrize("name", ["flat.fits", "flat_mask.fits", "flat_variance.fits", "flat_psi.fits"])
def test_no_file_of_a_layout_is_overwritten(tmp_path: Path, name: str) -> None:
    make_inputs(tmp_path)
    (tmp_path / name).write_text("precious")
    before = listing(tmp_path)
    done = run(tmp_path, *INPUTS, "--layout", "flat", "-o", "flat.fits", status=3)
    assert f"{name}: the output exists already" in done.stderr
    assert listing(tmp_path) == before
    run(tmp_path, *INPUTS, "--layout", "flat", "-q", "-o", "flat.fits", "--overwrite")
    assert (tmp_path / name).read_bytes()[:6] == b"SIMPLE"


def test_files_that_appear_in_the_meantime(tmp_path: Path) -> None:
    """A companion that cannot be placed takes the others with it."""
    from diffim_decorr.io.drafts import drafts

    from diffim_decorr import InputError

    paths = [str(tmp_path / name) for name in ("a.fits", "b.fits", "c.fits")]
    with pytest.raises(InputError, match=r"a\.fits: the output exists already"), drafts(paths, overwrite=False):
        Path(paths[0]).write_text("someone else's")
    assert listing(tmp_path) == {"a.fits": b"someone else's"}


def test_input_cannot_be_a_companion_of_the_output(tmp_path: Path) -> None:
    make_inputs(tmp_path)
    shutil.copy(tmp_path / "sci.fits", tmp_path / "out_mask.fits")
    args = ("--sci-mask", "out_mask.fits", "--layout", "flat", "--overwrite", "-o", "out.fits")
    done = run(tmp_path, *INPUTS, *args, status=3)
    assert "out_mask.fits: the output is the same file as the input" in done.stderr


def test_json_names_all_files(tmp_path: Path) -> None:
    make_inputs(tmp_path)
    said = json.loads(run(tmp_path, *INPUTS, "--layout", "flat", "--json", "-o", "out.fits").stdout)
    assert said["files"] == ["out.fits", "out_mask.fits", "out_variance.fits", "out_psi.fits"]
    assert sorted(said["files"]) == sorted(path.name for path in tmp_path.glob("out*"))


# Files of several exposures


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
    done = run(mosaic, *ALL, "--all-ext", "--layout", layout, "-o", str(output))
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["output", *CCDS, "seconds"]
    primary = fits.getheader(output)
    assert (primary["OBJECT"], primary["DCNEXT"]) == ("field 7", 3)
    for number, ccd in enumerate(CCDS, 1):
        alone = tmp_path / f"{ccd}.fits"
        run(mosaic, *ALL, "--ext", ccd, "-q", "-o", str(alone))
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
    run(mosaic, *ALL, "--ext", "S30", "--bad-fraction", "1e-4", "-q", "-o", str(tmp_path / "out.fits"))
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
    run(folder, *ALL, "--all-ext", "-q", "-o", "whole.fits")
    spoil(folder)
    done = run(folder, *ALL, "--all-ext", "--json", "-o", "out.fits", status=3)
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
    from diffim_decorr.io.layouts import Place
    from diffim_decorr.io.mosaic import MosaicFile
    from diffim_decorr.pipeline import measure, prepare

    from diffim_decorr import InputError
    from diffim_decorr.options import Options

    def steps(output: MosaicFile, number: int, broken: bool) -> None:
        science, template, difference = (
            read_exposure(mosaic / f"{name}.fits[{CCDS[number - 1]}]") for name in ("sci", "tmpl", "diff")
        )
        kernel = read_kernel(mosaic / f"kernel.fits[{CCDS[number - 1]}]")
        plan = prepare(science, template, difference, kernel, Options(svar=1.0, tvar=1.0))
        with output.section(plan, {}, Place(number, CCDS[number - 1], 1)) as section:
            from diffim_decorr.filtering import apply

            apply(plan, section, None)
            if broken:
                raise InputError("damaged")
            section.finish(measure(plan, section))

    path = str(tmp_path / "out.fits")
    with MosaicFile.create(path, str(mosaic / "diff.fits"), 3, overwrite=False, layout="lsst") as output:
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
    done = run(tmp_path, "sci.fits", *args, status=3)
    assert "out.fits: not written, for not one of 3 HDUs could be used" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sci.fits"]


def test_one_kernel_for_all(mosaic: Path, tmp_path: Path) -> None:
    fits.writeto(tmp_path / "one.fits", gaussian(9, 1.1))
    run(
        mosaic, *ALL[:3], "--kernel", str(tmp_path / "one.fits"), *ALL[5:], "--all-ext", "-q", "-o", str(tmp_path / "o")
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
    run(tmp_path, *INPUTS, "--all-ext", "-q", "-o", "all.fits")
    run(tmp_path, *INPUTS, "--ext", "2", "-q", "-o", "two.fits")
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
    done = run(tmp_path, *INPUTS, "--all-ext", "--json", "-o", "out.fits")
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
    done = run(mosaic, *ALL, *args, "-o", str(tmp_path / "out.fits"), status=status)
    assert says in done.stderr
    assert not list(tmp_path.iterdir())


def test_all_hdus_and_one_of_them(mosaic: Path, tmp_path: Path) -> None:
    args = ("sci.fits[S29]", *ALL[1:], "--all-ext", "-o", str(tmp_path / "out.fits"))
    done = run(mosaic, *args, status=2)
    assert "--all-ext takes all HDUs, but sci.fits[S29] names one" in done.stderr


def test_a_companion_of_another_ccd_is_not_taken(mosaic: Path, tmp_path: Path) -> None:
    with fits.open(mosaic / "weight.fits") as hdus:
        hdus["S30"].name = "N30"
        hdus.writeto(tmp_path / "weight.fits")
    args = (*INPUTS, "--sci-weight", str(tmp_path / "weight.fits"), "--ext", "S30", "-o", str(tmp_path / "out.fits"))
    done = run(mosaic, *args, status=3)
    assert "weight.fits: none of its 3 images is [S30,1], as the image it belongs to" in done.stderr


def test_the_real_executable(mosaic: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.fits.fz"
    done = decorr(mosaic, "run", *ALL, "--all-ext", "--layout", "sci-err-dq", "-q", "-o", output)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert isinstance(read_exposure(f"{output}[SCI,3]"), Exposure)
