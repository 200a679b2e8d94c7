"""``decorr apply``: companion images convolved with the ψ of a run, through the real command and from Python."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from command import PLANES, decorr, listing, make_inputs, quickly, write_exposure
from diffim_decorr.spatial import Box, PiecewiseCoefficients, PolynomialCoefficients
from reference import convolved, gaussian
from scipy.ndimage import maximum_filter

from diffim_decorr import (
    DecorrelationKernel,
    Exposure,
    InputError,
    SpatialKernel,
    apply_psi,
    apply_psi_at,
    decorrelate,
    read_exposure,
    read_kernel,
    read_psf,
    read_psi,
)
from diffim_decorr.io.kernels import write_grid_kernel

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
# Wide enough for two tiles.
SHAPE = (90, 760)
NY, NX = SHAPE
CONFIGURATIONS = {
    "constant": ("--kernel", "kernel.fits"),
    "spatial": ("--kernel", "varying.fits", "--spatial"),
    # The kernels of variance reach farther than ψ, which must not matter to the image.
    "narrow": ("--kernel", "kernel.fits", "--half-width", "2", "--bad-fraction", "0.03", "--replace-planes", "SAT"),
    "step": ("--kernel", "varying.fits", "--spatial", "--tmpl-variance", "deeper.fits"),
}


def run(folder: Path, *args: object) -> subprocess.CompletedProcess[str]:
    done = quickly(folder, *map(str, args))
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Inputs and what several runs make of them."""
    folder = tmp_path_factory.mktemp("good")
    make_inputs(folder, SHAPE)
    x, y = (axis.ravel() for axis in np.meshgrid([0, NX - 1], [0, NY - 1]))
    kernels = [gaussian(11, (sigma, 1.2), 30) for sigma in (1.0, 1.5, 1.2, 1.9)]
    write_grid_kernel(folder / "varying.fits", kernels, x, y)
    step = np.full(SHAPE, 2.25, "f4")
    step[:, NX // 2 :] *= 2
    fits.writeto(folder / "deeper.fits", step)
    # A star brighter than what is convolved in single precision.
    with fits.open(folder / "diff.fits", mode="update") as hdus:
        hdus[0].data[40:43, 500:503] += 5000
    for name, options in CONFIGURATIONS.items():
        run(
            folder,
            "run",
            "sci.fits",
            "tmpl.fits",
            "diff.fits",
            "--psf",
            "psf.fits",
            *options,
            "-o",
            f"{name}.fits",
            "-q",
        )
    return folder


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    for path in good.iterdir():
        shutil.copy(path, tmp_path)
    return tmp_path


def flags(hdu: fits.ImageHDU, plane: str) -> np.ndarray:
    bit = next(value for key, value in hdu.header.items() if key.endswith(f"MP_{plane}"))
    return (hdu.data >> bit & 1) == 1


# The stored ψ


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_stored_psi_is_that_of_the_run(good: Path, name: str) -> None:
    options = {
        "constant": {},
        "spatial": {"spatial": True},
        "narrow": {"half_width": 2, "bad_fraction": 0.03, "replace_planes": ("SAT",)},
        "step": {"spatial": True},
    }[name]
    science, difference = (read_exposure(good / f"{side}.fits") for side in ("sci", "diff"))
    template = read_exposure(good / "tmpl.fits", variance=good / "deeper.fits" if name == "step" else None)
    kernel = read_kernel(good / CONFIGURATIONS[name][1], SHAPE)
    ours = decorrelate(science, template, difference, kernel, **options)  # type: ignore[arg-type]
    stored = read_psi(good / f"{name}.fits")
    assert stored.shape == SHAPE
    assert stored.is_constant == ours.psi.is_constant == (name in ("constant", "narrow"))
    assert stored.variance == pytest.approx(ours.plan.noise.science + ours.plan.noise.template, rel=1e-12)
    assert stored.replace_planes == ours.plan.options.replace_planes
    assert stored.bad_fraction == ours.plan.options.bad_fraction
    assert (stored.margin > stored.half_width) == (name == "narrow")
    rng = np.random.default_rng(3)
    for x, y in zip(rng.uniform(-0.5, NX - 0.5, 40), rng.uniform(-0.5, NY - 0.5, 40), strict=True):
        expected = ours.psi.at(x, y)
        assert np.abs(stored.at(x, y) - expected).max() <= 1e-7 * expected.max()


# Images of the field


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_own_difference_becomes_own_result(good: Path, tmp_path: Path, name: str) -> None:
    """Bit for bit, where the same pixels are replaced: the mask of the result says which."""
    out = tmp_path / "out.fits"
    # Without the flags that the run itself has set, to see whether they are set again.
    with fits.open(good / f"{name}.fits") as hdus:
        kept = hdus["MASK"].data
        for plane in ("EDGE", "DECORR_BAD"):
            bit = next(value for key, value in hdus["MASK"].header.items() if key.endswith(f"MP_{plane}"))
            kept = kept & ~np.int32(1 << bit)
        fits.writeto(tmp_path / "mask.fits", kept, hdus["MASK"].header)
    run(good, "apply", "diff.fits", "--psi", f"{name}.fits", "--mask", tmp_path / "mask.fits", "-o", out)
    with fits.open(good / f"{name}.fits") as expected, fits.open(out) as made:
        np.testing.assert_array_equal(made["IMAGE"].data, expected["IMAGE"].data)
        assert np.isnan(made["IMAGE"].data[10, 12])
        assert "VARIANCE" not in made
        for plane in (*PLANES, "DECORR_BAD"):
            found = flags(expected["MASK"], plane)
            assert found.any() == (plane not in ("INTRP", "BAD", "DETECTED", "DETECTED_NEGATIVE")), plane
            differ = flags(made["MASK"], plane) != found
            # Of ψ varying over the field |ψ| is known to a thousandth: a pixel at the limit may fall on either side.
            assert differ.mean() <= (0 if name in ("constant", "narrow") else 1e-3), plane


def test_brute_force(good: Path, tmp_path: Path) -> None:
    """ψ at each position, summed over the pixels around it, those in replaced planes left out."""
    out = tmp_path / "out.fits"
    run(good, "apply", "sci.fits", "--psi", "step.fits", "-o", out)
    psi = read_psi(good / "step.fits")
    with fits.open(good / "sci.fits") as hdus:
        lost = (hdus["MASK"].data & (1 << PLANES["SAT"] | 1 << PLANES["CR"])) != 0
        image, variance = (np.where(lost, 0, hdus[name].data.astype(float)) for name in ("IMAGE", "VARIANCE"))
    margin = psi.half_width
    image, variance = (np.pad(plane, margin) for plane in (image, variance))
    rng = np.random.default_rng(4)
    x, y = rng.integers(0, NX, 150), rng.integers(0, NY, 150)
    # At the saturated pixels, and in the strip where the depth of the template changes.
    x[:5], y[:5] = np.arange(28, 33), 20
    x[5:15] = NX // 2 + np.arange(-5, 5)
    with fits.open(out) as hdus:
        for px, py in zip(x, y, strict=True):
            window = slice(py, py + 2 * margin + 1), slice(px, px + 2 * margin + 1)
            kernel = psi.at(px, py)[::-1, ::-1]
            assert hdus["IMAGE"].data[py, px] == pytest.approx((kernel * image[window]).sum(), abs=2e-6 * 2.0)
            expected = (kernel**2 * variance[window]).sum()
            in_step = abs(px - NX / 2) < 16
            # Errors are relative to ψ² as a whole, also where most of it falls on replaced pixels.
            whole = 4 * (kernel**2).sum()
            assert abs(hdus["VARIANCE"].data[py, px] - expected) <= (1e-2 if in_step else 1e-3) * whole


def test_variance_is_that_of_white_noise(good: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.fits"
    run(good, "apply", "sci.fits", "--psi", "spatial.fits", "-o", out)
    with fits.open(out) as hdus:
        clear = hdus["MASK"].data == 0
        snr = hdus["IMAGE"].data[clear] / np.sqrt(hdus["VARIANCE"].data[clear])
    # Pixels of ψ ⊗ white noise are correlated: their number counts for about Σψ² / Σ(ψ⋆ψ)² of it, more than a third.
    assert snr.std() == pytest.approx(1, abs=4 / np.sqrt(2 * clear.sum() / 3))


def test_companions_add_up(good: Path, tmp_path: Path) -> None:
    """The convolved science image less the convolved matched template is the decorrelated difference."""
    with fits.open(good / "sci.fits") as hdus:
        science = hdus["IMAGE"].data
    with fits.open(good / "diff.fits") as hdus:
        difference = hdus[0].data
        matched = science - difference
        matched[10, 12] = 0
        fits.writeto(tmp_path / "matched.fits", matched)
    for name in ("sci", "matched"):
        path = good / "sci.fits" if name == "sci" else tmp_path / "matched.fits"
        run(good, "apply", path, "--psi", "spatial.fits", "--mask", "spatial.fits", "-o", tmp_path / f"out_{name}.fits")
    with fits.open(good / "spatial.fits") as hdus:
        expected = hdus["IMAGE"].data
    total = fits.getdata(tmp_path / "out_sci.fits", "IMAGE") - fits.getdata(tmp_path / "out_matched.fits", "IMAGE")
    known = np.isfinite(expected)
    # Single precision keeps 6e-8 of a star, in what is given and in what comes out.
    tolerance = 1e-5 + 2e-7 * maximum_filter(np.abs(matched), 2 * read_psi(good / "spatial.fits").half_width + 1)
    assert (np.abs(total - expected) <= tolerance)[known].all()


def test_defects_are_flagged(good: Path, tmp_path: Path) -> None:
    """As in a run: what is missing stays missing, what is masked stays masked, and neighbours are told."""
    image, mask = np.random.default_rng(5).normal(size=SHAPE).astype("f4"), np.zeros(SHAPE, "i4")
    image[30, 100], image[60, 300] = np.nan, 1e6
    mask[60, 300] = 1 << PLANES["SAT"]
    mask[70, 600] = 1 << PLANES["DETECTED"]
    write_exposure(tmp_path / "image.fits", image, mask, np.ones(SHAPE, "f4"))
    # Neighbours of a pixel have half a per cent of Σ|ψ|.
    run(tmp_path, "apply", "image.fits", "--psi", good / "spatial.fits", "--bad-fraction", "0.003")
    with fits.open(tmp_path / "image_decorr.fits") as hdus:
        result, variance, planes = (hdus[name].data for name in ("IMAGE", "VARIANCE", "MASK"))
        assert np.isnan(result).sum() == np.isnan(variance).sum() == 1
        assert np.isnan(result[30, 100])
        assert flags(hdus["MASK"], "NO_DATA").sum() == 1
        assert flags(hdus["MASK"], "NO_DATA")[30, 100]
        assert ((planes & mask) == mask).all()
        bad = flags(hdus["MASK"], "DECORR_BAD")
        assert bad[30, 101]
        assert bad[60, 301]
        assert not bad[70, 601]
        assert np.nanmax(np.abs(result)) < 20
        edge = flags(hdus["MASK"], "EDGE")
        assert edge[0].all()
        assert not edge[NY // 2, NX // 2]


def test_run_options_are_taken_over_and_overruled(good: Path, tmp_path: Path) -> None:
    run(good, "apply", "sci.fits", "--psi", "narrow.fits", "-o", tmp_path / "a.fits")
    run(good, "apply", "sci.fits", "--psi", "narrow.fits", "--replace-planes", "none", "--bad-fraction", "0.5",
        "-o", tmp_path / "b.fits")  # fmt: skip
    a, b = (fits.getheader(tmp_path / f"{name}.fits") for name in "ab")
    assert (a["DCREPPL"], a["DCBADFRC"]) == ("SAT", 0.03)
    assert (b["DCREPPL"], b["DCBADFRC"]) == ("none", 0.5)
    with fits.open(tmp_path / "a.fits") as first, fits.open(tmp_path / "b.fits") as second:
        assert flags(first["MASK"], "DECORR_BAD").any()
        assert not flags(second["MASK"], "DECORR_BAD").any()
        assert (first["IMAGE"].data[20, 28:36] != second["IMAGE"].data[20, 28:36]).all()


def test_any_size_with_a_constant_psi(good: Path, tmp_path: Path) -> None:
    image = np.random.default_rng(6).normal(size=(50, 60))
    fits.writeto(tmp_path / "cutout.fits", image)
    run(tmp_path, "apply", "cutout.fits", "--psi", good / "constant.fits", "-o", "out.fits")
    psi = read_psi(good / "constant.fits").at(0, 0)
    np.testing.assert_allclose(fits.getdata(tmp_path / "out.fits", "IMAGE"), convolved(image, psi), atol=3e-6)


def test_psf_goes_with_the_image(good: Path, tmp_path: Path) -> None:
    run(good, "apply", "sci.fits", "--psi", "spatial.fits", "--psf", "psf.fits", "-o", tmp_path / "out.fits")
    np.testing.assert_allclose(
        fits.getdata(tmp_path / "out.fits", "PSF"), fits.getdata(good / "spatial.fits", "PSF"), rtol=0, atol=1e-9
    )


def test_header(good: Path, tmp_path: Path) -> None:
    run(
        good, "apply", "diff.fits", "--psi", "spatial.fits", "--mask", "spatial.fits[MASK]", "-o", tmp_path / "out.fits"
    )
    with fits.open(tmp_path / "out.fits", checksum=True) as hdus:
        header = hdus[0].header
        assert (header["DCIMAGE"], header["DCPSI"], header["DCIMGMSK"]) == (
            "diff.fits",
            "spatial.fits",
            "spatial.fits[MASK]",
        )
        assert (header["OBJECT"], header["DCMODE"]) == ("field 7", "spatial")
        assert hdus["IMAGE"].header["CRVAL1"] == 150.1
        assert hdus["IMAGE"].header["BUNIT"] == "adu"
        for hdu in hdus:
            assert hdu.verify_checksum() == hdu.verify_datasum() == 1
            hdu.verify("exception")


def test_compressed_output_and_psi(good: Path, tmp_path: Path) -> None:
    run(good, "run", "sci.fits", "tmpl.fits", "diff.fits", *CONFIGURATIONS["spatial"], "-o", tmp_path / "run.fits.fz")
    run(good, "apply", "diff.fits", "--psi", tmp_path / "run.fits.fz", "--mask", tmp_path / "run.fits.fz",
        "-o", tmp_path / "out.fits.fz")  # fmt: skip
    np.testing.assert_array_equal(
        fits.getdata(tmp_path / "out.fits.fz", "IMAGE"), fits.getdata(good / "spatial.fits", "IMAGE")
    )


def test_python_gives_the_same_pixels(good: Path, tmp_path: Path) -> None:
    run(good, "apply", "sci.fits", "--psi", "step.fits", "--threads", "1", "-o", tmp_path / "out.fits")
    result = apply_psi(read_exposure(good / "sci.fits"), read_psi(good / "step.fits"))
    with fits.open(tmp_path / "out.fits") as hdus:
        # To rounding, which the number of threads of the linear algebra library has a part in.
        np.testing.assert_allclose(result.image, hdus["IMAGE"].data, rtol=0, atol=1e-6 * 2.0)
        np.testing.assert_allclose(result.variance, hdus["VARIANCE"].data, rtol=1e-6)
        np.testing.assert_array_equal(result.mask, hdus["MASK"].data)


def test_inputs_are_not_modified(good: Path) -> None:
    image = np.random.default_rng(7).normal(size=SHAPE).astype("f4")
    image[5, 5] = np.nan
    before = image.copy()
    result = apply_psi(Exposure(image), read_psi(good / "spatial.fits"))
    np.testing.assert_array_equal(image, before)
    assert result.variance is None


def test_psf_that_varies_as_psi_does(good: Path) -> None:
    varying = read_kernel(good / "varying.fits").kernel
    psi = read_psi(good / "spatial.fits")
    result = apply_psi(Exposure(np.ones(SHAPE), psf=varying), psi)
    for x, y in ((0, 0), (17, 60), (NX - 1, NY - 1)):
        margin = [(n - m) // 2 for n, m in zip(result.psf.shape, varying.shape, strict=True)]
        expected = convolved(np.pad(varying.at(x, y), [(m, m) for m in margin]), psi.at(x, y))
        # What the grid of the result is as fine as, twice.
        np.testing.assert_allclose(result.psf.at(x, y), expected, atol=6e-4 * expected.max())
    result = apply_psi(Exposure(np.ones(SHAPE), psf=varying), read_psi(good / "constant.fits"))
    assert isinstance(result.psf, SpatialKernel)


def test_regions_of_a_hotpants_run(tmp_path: Path) -> None:
    data = DATA / "jwst_a2744"
    name = "hotpants_diff_2x2_science_convolved.fits"
    if not (data / name).exists():
        pytest.skip(f"there is no {data / name}")
    run(tmp_path, "run", data / "sci.fits", data / "tmpl.fits", data / name, "--kernel", data / name, "--spatial",
        "--tolerance", "0.05", "-o", "run.fits")  # fmt: skip
    run(tmp_path, "apply", data / name, "--psi", "run.fits", "--mask", "run.fits", "-o", "out.fits")
    expected = fits.getdata(tmp_path / "run.fits", "IMAGE")
    assert np.isfinite(expected).sum() > 1e5
    np.testing.assert_array_equal(fits.getdata(tmp_path / "out.fits", "IMAGE"), expected)


# Small images at one position


def test_psf_at_a_position(good: Path, tmp_path: Path) -> None:
    """At the centre it is the PSF of the run; anywhere nothing is lost, and the WCS holds."""
    with fits.open(good / "psf.fits") as hdus:
        psf = hdus[0].data.astype(float)
    fits.writeto(tmp_path / "psf.fits", psf, fits.Header({"CRPIX1": 5.0, "CRPIX2": 5.0, "CTYPE1": "LINEAR"}))
    run(
        tmp_path,
        "apply",
        "psf.fits",
        "--psi",
        good / "spatial.fits",
        "--at",
        (NX - 1) / 2,
        (NY - 1) / 2,
        "-o",
        "c.fits",
    )
    centre = read_psf(good / "spatial.fits").at((NX - 1) / 2, (NY - 1) / 2)
    # The run has its PSF on a grid.
    np.testing.assert_allclose(fits.getdata(tmp_path / "c.fits"), centre * psf.sum(), atol=6e-4 * centre.max())
    run(tmp_path, "apply", "psf.fits", "--psi", good / "spatial.fits", "--at", 3, 80, "-o", "c.fits", "--overwrite")
    kernel = read_psi(good / "spatial.fits")
    corner, header = fits.getdata(tmp_path / "c.fits", header=True)
    margin = kernel.half_width
    np.testing.assert_allclose(corner, convolved(np.pad(psf, margin), kernel.at(3, 80)), atol=1e-12)
    assert corner.sum() == pytest.approx(psf.sum(), rel=1e-6)
    assert (header["CRPIX1"], header["CRPIX2"]) == (5 + margin, 5 + margin)
    assert (header["DCATX"], header["DCATY"], header["DCIMAGE"]) == (3, 80, "psf.fits")


def test_even_sizes_keep_their_centre(good: Path) -> None:
    """The centre of a kernel or PSF is at index (h // 2, w // 2)."""
    psi = read_psi(good / "constant.fits")
    point = np.zeros((6, 8))
    point[3, 4] = 1
    result = apply_psi_at(point, psi, 5, 5)
    height, width = result.shape
    assert np.unravel_index(np.argmax(result), result.shape) == (height // 2, width // 2)


# What is printed


def test_json(good: Path, tmp_path: Path) -> None:
    said = json.loads(run(good, "apply", "sci.fits", "--psi", "step.fits", "-o", tmp_path / "o.fits", "--json").stdout)
    assert said["output"] == str(tmp_path / "o.fits")
    assert said["hdus"] == ["IMAGE", "MASK", "VARIANCE"]
    psi = read_psi(good / "step.fits")
    assert said["psi"] == {
        "file": "step.fits",
        "mode": "spatial",
        "half_width": psi.half_width,
        "modes": len(psi.kernel.basis),
    }
    assert said["warnings"] == []
    assert said["seconds"] > 0


def test_table_and_quiet(good: Path, tmp_path: Path) -> None:
    done = run(good, "apply", "psf.fits", "--psi", "step.fits", "--at", 3, 4, "-o", tmp_path / "o.fits")
    assert "decorrelation kernel" in done.stdout
    done = run(good, "apply", "psf.fits", "--psi", "step.fits", "--at", 3, 4, "-o", tmp_path / "o2.fits", "-q")
    assert done.stdout == done.stderr == ""


def test_options_from_a_file(folder: Path) -> None:
    (folder / "options.toml").write_text('psi = "spatial.fits"\nbad-fraction = 0.2\n')
    run(folder, "apply", "sci.fits", "--config", "options.toml", "-o", "o.fits")
    assert fits.getheader(folder / "o.fits")["DCBADFRC"] == 0.2


# What cannot be used


def without(name: str) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        with fits.open(path) as hdus:
            kept = fits.HDUList([hdu.copy() for hdu in hdus if hdu.name != name])
        kept.writeto(path, overwrite=True)

    return edit


def table(change: Callable[[fits.BinTableHDU], None]) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        with fits.open(path, mode="update") as hdus:
            change(hdus["PSI_COEFFS"])

    return edit


def put(column: str, value: float) -> Callable[[Path], None]:
    def change(hdu: fits.BinTableHDU) -> None:
        cell = hdu.data[column]
        cell[(0,) * cell.ndim] = value

    return table(change)


def basis(value: object) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        with fits.open(path, mode="update") as hdus:
            if isinstance(value, tuple):
                hdus["PSI_BASIS"].data = np.ones(value)
            else:
                hdus["PSI_BASIS"].data[0, 0, 0] = value

    return edit


def image_table(path: Path) -> None:
    without("PSI_COEFFS")(path)
    fits.append(path, np.ones((3, 3)), fits.Header({"EXTNAME": "PSI_COEFFS"}))


DAMAGES = {
    "no basis": (without("PSI_BASIS"), "holds no decorrelation kernel"),
    "no table": (without("PSI_COEFFS"), "[PSI_BASIS]: its coefficients are missing"),
    "an image for a table": (image_table, "[PSI_COEFFS]: is not a binary table"),
    "no column": (table(lambda hdu: hdu.columns.del_col("KNOTS_X")), "[PSI_COEFFS]: has no column KNOTS_X"),
    "no rows": (table(lambda hdu: setattr(hdu, "data", hdu.data[:0])), "[PSI_COEFFS]: has no rows"),
    "more knots than there are": (put("NX", 1000), "[PSI_COEFFS]: a row does not hold what it says"),
    "order 0": (put("ORDER", 0), "[PSI_COEFFS]: a row does not hold what it says"),
    "empty rectangle": (put("X1", 0), "[PSI_COEFFS]: a row does not hold what it says"),
    "NaN among the values": (put("VALUES", np.nan), "[PSI_COEFFS]: holds numbers that are not finite"),
    "knots not in order": (put("KNOTS_Y", 1e6), "[PSI_COEFFS]: the knots are not in increasing order"),
    "NaN in the basis": (basis(np.nan), "[PSI_BASIS]: holds pixels that are not finite"),
    "even size": (basis((3, 6, 6)), "[PSI_BASIS]: is not a cube of square images"),
    "card": (table(lambda hdu: hdu.header.set("MARGIN", "wide")), "[PSI_COEFFS]: card MARGIN = 'wide' is not a number"),
}  # fmt: skip


def refuse(folder: Path, says: str, *args: object, status: int = 3) -> None:
    before = listing(folder)
    done = quickly(folder, "apply", *map(str, args))
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    assert says in done.stderr
    if status == 3:
        assert done.stderr.startswith("decorr: error: ")
        assert done.stderr.count("\n") == 1
    assert listing(folder) == before


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_psi(good: Path, tmp_path: Path, damage: str) -> None:
    for name in ("sci", "spatial"):
        shutil.copy(good / f"{name}.fits", tmp_path)
    spoil, says = DAMAGES[damage]
    spoil(tmp_path / "spatial.fits")
    refuse(tmp_path, f"spatial.fits{says}" if says.startswith("[") else says, "sci.fits", "--psi", "spatial.fits")


def test_refusals(folder: Path) -> None:
    fits.writeto(folder / "small.fits", np.ones((20, 30)))
    fits.writeto(folder / "holes.fits", np.where(np.eye(9) > 0, np.nan, 1))
    fits.writeto(folder / "zero.fits", np.zeros(SHAPE, "f4"))
    psi = ("--psi", "spatial.fits")
    refuse(folder, "no such file", "none.fits", *psi)
    refuse(folder, "no such file", "sci.fits", "--psi", "none.fits")
    refuse(folder, "tmpl.fits: holds no decorrelation kernel", "sci.fits", "--psi", "tmpl.fits")
    refuse(folder, "spatial.fits[MASK]: holds no decorrelation kernel", "sci.fits", "--psi", "spatial.fits[MASK]")
    refuse(folder, "small.fits: has 30 x 20 pixels, but spatial.fits[PSI_BASIS] varies over a field of 760 x 90",
           "small.fits", *psi)  # fmt: skip
    refuse(folder, "has been decorrelated already", "constant.fits", *psi, "-o", "o.fits")
    refuse(folder, "outside the field of 760 x 90 pixels", "psf.fits", *psi, "--at", "760", "5", "-o", "o.fits")
    refuse(folder, "holes.fits: has pixels that are not finite", "holes.fits", *psi, "--at", "7", "5", "-o", "o.fits")
    refuse(folder, "no pixel has a variance > 0", "sci.fits", *psi, "--variance", "zero.fits", "-o", "o.fits")
    refuse(
        folder, "give only one", "sci.fits", *psi, "--variance", "deeper.fits", "--noise", "deeper.fits", "-o", "o.fits"
    )
    refuse(folder, "bad_fraction", "sci.fits", *psi, "--bad-fraction", "2", "-o", "o.fits")
    refuse(folder, "--mask has no meaning", "psf.fits", *psi, "--at", "7", "5", "--mask", "sci.fits", status=2)
    refuse(folder, "--psi", "sci.fits", status=2)


def test_nothing_is_overwritten(folder: Path) -> None:
    psi = ("--psi", "spatial.fits")
    (folder / "sci_decorr.fits").write_bytes(b"mine")
    refuse(folder, "sci_decorr.fits: the output exists already", "sci.fits", *psi)
    run(folder, "apply", "sci.fits", *psi, "--overwrite")
    for output in ("sci.fits", "spatial.fits", "deeper.fits"):
        refuse(folder, "the output is the same file as the input", "sci.fits", *psi, "--variance", "deeper.fits",
               "-o", output, "--overwrite")  # fmt: skip
    refuse(folder, "the output is the same file", "psf.fits", *psi, "--at", "4", "4", "-o", "psf.fits", "--overwrite")
    refuse(folder, "there is no directory", "psf.fits", *psi, "--at", "4", "4", "-o", "nowhere/o.fits")


def test_frames_of_lsst(good: Path) -> None:
    psi = read_psi(good / "spatial.fits")
    moved = DecorrelationKernel(psi.kernel, psi.shape, xy0=(100, 200))
    apply_psi(Exposure(np.ones(SHAPE), xy0=(100, 200)), moved)
    with pytest.raises(InputError, match=r"begins at \(100, 201\) of its parent frame"):
        apply_psi(Exposure(np.ones(SHAPE), xy0=(100, 201)), moved)


def test_where_there_was_no_kernel() -> None:
    half = PiecewiseCoefficients(((Box(0, 0, 20, 40), PolynomialCoefficients.constant([1.0])),))
    psi = DecorrelationKernel(SpatialKernel(np.ones((1, 3, 3)), half), (40, 40))
    with pytest.raises(InputError, match="no matching kernel at position 30 5"):
        psi.at(30, 5)


def test_through_the_shell(good: Path, tmp_path: Path) -> None:
    """In a process of its own, with nothing loaded before."""
    done = decorr(good, "apply", "sci.fits", "--psi", "spatial.fits", "-o", tmp_path / "out.fits")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "IMAGE, MASK, VARIANCE" in done.stdout
