"""Pixels against brute force: a kernel of its own for each pixel, by the definition of convolution."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from reference import (
    IDENTITY,
    Hotpants,
    Region,
    brute_force,
    convolved,
    exposures,
    gaussian,
    hotpants_basis,
    hotpants_coefficients,
    hotpants_kernel,
    noise_pair,
    psi_of,
    run_command,
    write_exposure,
)

from diffim_decorr import Exposure, MatchingKernel, Result, decorrelate, decorrelation, read_exposure, read_kernel

LSST = Path(__file__).resolve().parents[2] / "shared" / "data" / "lsst_parity"
needs_lsst = pytest.mark.skipif(not LSST.is_dir(), reason="the data folder shared/data/lsst_parity is absent")

Images = tuple[Exposure, Exposure, Exposure]


class Field:
    """A difference with a kernel that varies, and its exact decorrelation."""

    def __init__(self, hotpants: Hotpants, path: Path, svar: float, tvar: float, seed: int) -> None:
        self.hotpants, self.svar, self.tvar = hotpants, svar, tvar
        self.sigma = np.sqrt(svar + tvar)
        science, template = noise_pair(seed, hotpants.shape, svar, tvar)
        difference = hotpants.difference(science, template)
        self.kernel: MatchingKernel = read_kernel(hotpants.write(path, difference))
        self.images: Images = exposures(science, template, difference, svar, tvar)
        self._made: dict[str, Result] = {}

    def psi(self, x: float, y: float) -> np.ndarray:
        return psi_of(self.hotpants.sides(x, y), [self.svar, self.tvar], size=192)

    def decorrelated(self, **options: object) -> Result:
        options = {"spatial": True, "svar": self.svar, "tvar": self.tvar, **options}
        return decorrelate(*self.images, self.kernel, **options)

    def kept(self, **options: object) -> Result:
        """The same, made once."""
        name = str(options)
        if name not in self._made:
            self._made[name] = self.decorrelated(**options)
        return self._made[name]

    def errors(self, result: Result, positions: list[tuple[int, int]]) -> np.ndarray:
        """In units of the noise."""
        x, y = np.array(positions).T
        exact = brute_force(self.images[2].image.astype(float), positions, self.psi)
        return (result.exposure.image[y, x] - exact) / self.sigma

    def anywhere(self, seed: int, count: int) -> list[tuple[int, int]]:
        rng = np.random.default_rng(seed)
        ny, nx = self.hotpants.shape
        return list(zip(rng.integers(0, nx, count).tolist(), rng.integers(0, ny, count).tolist(), strict=True))


# Wide enough for two columns of tiles of at most 864 pixels, which meet at x = 450.
SHAPE = (300, 900)
SEAM = 450
TOLERANCES = {"default": ({}, 1e-3), "1e-5": ({"tolerance": 1e-5}, 2e-5)}


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Field:
    return Field(hotpants_kernel(SHAPE, seed=1), tmp_path_factory.mktemp("field") / "diff.fits", 1.0, 2.0, seed=41)


@pytest.fixture(scope="module", params=TOLERANCES)
def result(request: pytest.FixtureRequest, field: Field) -> tuple[Result, float]:
    options, bar = TOLERANCES[request.param]
    return field.kept(**options), bar


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def test_a_kernel_for_each_pixel(field: Field, result: tuple[Result, float]) -> None:
    errors = field.errors(result[0], field.anywhere(1, 250))
    assert rms(errors) <= result[1]
    assert np.abs(errors).max() <= 5 * result[1]


def test_no_seam_between_tiles(field: Field, result: tuple[Result, float]) -> None:
    rows = range(10, 300, 7)
    left = field.errors(result[0], [(SEAM - 1, y) for y in rows])
    right = field.errors(result[0], [(SEAM, y) for y in rows])
    assert rms(np.concatenate([left, right])) <= result[1]
    # Were there a seam, neighbours across it would have unrelated errors, and a common offset.
    assert rms(right - left) <= 1e-3
    assert abs((right - left).mean()) <= 2e-4


def test_the_kernel_itself(field: Field, result: tuple[Result, float]) -> None:
    """The norm of ψ's error is the rms error that it makes in units of white noise."""
    got, bar = result
    half = got.psi.shape[0] // 2
    for x, y in [*field.anywhere(2, 12), (0, 0), (759, 299), (SEAM, 150)]:
        psi = got.psi.at(x, y)
        exact = field.psi(x, y)
        middle = exact.shape[0] // 2
        padded = np.zeros_like(exact)
        padded[middle - half : middle + half + 1, middle - half : middle + half + 1] = psi
        power = 1 / np.sum(exact**2)  # of the difference's noise, as a share of what white noise would have
        assert np.sqrt(np.sum((padded - exact) ** 2) * power) <= 3 * bar
        assert psi.sum() == pytest.approx(1, abs=1e-6)


def test_no_seam_between_regions(tmp_path: Path) -> None:
    """Pixels on either side of where two regions meet are filtered with their own region's kernel."""
    shape = (260, 380)
    gaussians = [(2, 0.9), (2, 1.8)]
    basis = hotpants_basis(gaussians, 21)
    # -nrx 2 -nsx 5: stamps are 190 // 5 - 21 = 17 pixels wide, too few for a substamp of 31, so that 51 are taken.
    grow = 51 // 2
    boxes = [(0, 0, 190, 260), (190, 0, 380, 260)]
    regions = [
        Region(
            box,
            (max(0, box[0] - grow), 0, min(380, box[2] + grow), 260),
            hotpants_coefficients(np.random.default_rng(number), basis, 1, total=(1.0, 1.5)[number]),
            ("template", "science")[number],
        )
        for number, box in enumerate(boxes)
    ]
    command = "hotpants -inim s -tmplim t -outim d -nrx 2 -nry 1 -nsx 5 -nsy 5"
    hotpants = Hotpants(shape, gaussians, 21, 1, regions, "t", command)
    field = Field(hotpants, tmp_path / "diff.fits", 1.0, 1.5, seed=42)
    for options, bar in TOLERANCES.values():
        errors = field.errors(field.decorrelated(**options), [(x, y) for y in range(0, 260, 6) for x in (189, 190)])
        assert rms(errors) <= bar
        assert np.abs(errors).max() <= 5 * bar


def test_edges_and_corners(field: Field, result: tuple[Result, float]) -> None:
    """Where ψ reaches over the edge, what is missing counts as background."""
    x, y = range(0, 760, 19), range(0, 300, 11)
    edges = [(c, r) for c in x for r in (0, 299)] + [(c, r) for r in y for c in (0, 1, 759)]
    assert rms(field.errors(result[0], edges)) <= result[1]


def test_nodes_whose_samples_are_not_kept(field: Field, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of very many nodes only the weights of modes found before are computed: ψ and its errors are the same."""
    real = decorrelation._psi_from_nodes
    compared = []

    def both(support: Any, nodes: Any, tolerance: float, threads: int) -> Any:
        kept = real(support, nodes, tolerance, threads)
        finer = [decorrelation._Nodes.over(part.box, 60.0, part.log_ratio) for part in nodes]
        weights_only = decorrelation._interpolated_further(support, kept, finer, threads)
        compared.append((real(support, finer, tolerance, threads), weights_only))
        return kept

    monkeypatch.setattr(decorrelation, "_psi_from_nodes", both)
    field.decorrelated()
    for kept, weights_only in compared:
        assert len(weights_only.weights) == len(kept.samples) > len(weights_only.samples)
        left = np.tensordot(weights_only.weights, weights_only.basis, axes=1) - kept.samples
        error = np.sqrt((left**2).sum(axis=(1, 2)).mean())
        assert error <= 1e-3
        # What it says of its error is what it is, but for the nodes at the edges, which stand for less of the field.
        assert 0.3 * error <= weights_only.mode_error <= 3 * error
    assert compared


# Variances


@pytest.mark.parametrize("spatial", [False, True])
def test_the_same_variance_all_over_and_nearly_the_same(field: Field, spatial: bool) -> None:
    """Planes without structure take another way, which may show nowhere, edges included."""
    science, template, difference = field.images
    plain = field.kept(spatial=spatial)
    variance = np.full(SHAPE, field.svar, np.float32)
    # A single pixel in each tile that differs by 1e-3.
    variance[150, 100::250] *= 1.001
    other = decorrelate(
        Exposure(science.image, variance, science.mask, mask_planes=science.mask_planes),
        template,
        difference,
        field.kernel,
        spatial=spatial,
        svar=field.svar,
        tvar=field.tvar,
    )
    np.testing.assert_allclose(other.exposure.variance[:120], plain.exposure.variance[:120], rtol=1e-5)
    np.testing.assert_allclose(other.exposure.variance, plain.exposure.variance, rtol=1e-3)
    assert (other.exposure.variance[150, 100::250] > plain.exposure.variance[150, 100::250] * 1.0001).all()


# Bright stars


@pytest.mark.parametrize("place", [(100, 150), (SEAM - 12, 299), (0, 0)])
def test_a_very_bright_star_is_felt_nowhere_else(field: Field, place: tuple[int, int]) -> None:
    plain = field.kept()
    science, template, difference = field.images
    x, y = place
    image = difference.image.copy()
    image[y, x] += 1e6 * field.sigma
    star = decorrelate(
        science,
        template,
        Exposure(image, None, difference.mask, mask_planes=difference.mask_planes),
        field.kernel,
        spatial=True,
        svar=field.svar,
        tvar=field.tvar,
    )
    half = star.psi.shape[0] // 2
    changed = np.abs(star.exposure.image.astype(float) - plain.exposure.image) / field.sigma
    changed[max(0, y - half) : y + half + 1, max(0, x - half) : x + half + 1] = 0
    assert changed.max() <= 1e-2
    np.testing.assert_array_equal(star.exposure.mask, plain.exposure.mask)
    np.testing.assert_array_equal(star.exposure.variance, plain.exposure.variance)
    # The star itself is ψ there, to the precision of the pixels that hold it.
    psi = field.psi(x, y)[95, 95]
    assert star.exposure.image[y, x] == pytest.approx(1e6 * field.sigma * psi, rel=3e-3)


@pytest.mark.parametrize("spatial", [False, True])
def test_what_is_cut_off_a_very_bright_star_is_faint(field: Field, spatial: bool) -> None:
    """Just outside its support ψ would have been less than 1e-8, so that a star of 1e6 σ is right to 1e-2 σ."""
    centre = (SHAPE[1] - 1) / 2, (SHAPE[0] - 1) / 2
    half = field.kept(spatial=spatial).psi.shape[0] // 2
    outside = [(dx, dy) for d in (half + 1, half + 3) for dx in range(-d, d + 1, 3) for dy in (-d, d)]
    psi = field.psi(*((150, 150) if spatial else centre))
    middle = psi.shape[0] // 2
    cut_off = max(abs(psi[middle + dy, middle + dx]) for dx, dy in outside)
    assert 1e6 * cut_off <= 1e-2


@pytest.mark.parametrize("brightness", [1e3, 1e5])
def test_stars_of_any_brightness_have_faint_errors(field: Field, brightness: float) -> None:
    """Of many stars, whatever precision their tiles are transformed in; far from them all is noise as before."""
    science, template, difference = field.images
    image = difference.image.copy()
    for x in (200, 560):
        image[150, x] += brightness * field.sigma
    images = science, template, Exposure(image)
    options = {"spatial": True, "svar": field.svar, "tvar": field.tvar, "tolerance": 1e-5}
    got = decorrelate(*images, field.kernel, **options)
    half = got.psi.shape[0] // 2
    positions = [(x, y) for x in (200 - half - 2, 200 + half + 2, 380, 559 - half) for y in range(100, 200, 9)]
    x, y = np.array(positions).T
    plain = field.kept(tolerance=1e-5)
    assert np.abs(got.exposure.image[y, x] - plain.exposure.image[y, x]).max() <= 1e-2 * field.sigma


# Reproducibility


def test_results_do_not_depend_on_threads(field: Field) -> None:
    one = field.decorrelated(threads=1)
    for threads in (2, 3):
        other = field.decorrelated(threads=threads)
        for plane in ("image", "variance", "mask"):
            np.testing.assert_array_equal(getattr(other.exposure, plane), getattr(one.exposure, plane))
        np.testing.assert_array_equal(other.psi.at(5, 7), one.psi.at(5, 7))


@pytest.mark.parametrize("largest", [97, 256])
def test_results_do_not_depend_on_tiles(field: Field, largest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    one = field.kept()
    monkeypatch.setattr("diffim_decorr.convolution._LARGEST_TILE", largest)
    other = field.decorrelated()
    assert np.abs(other.exposure.image.astype(float) - one.exposure.image).max() <= 1e-5 * field.sigma
    np.testing.assert_allclose(other.exposure.variance, one.exposure.variance, rtol=1e-5)
    np.testing.assert_array_equal(other.exposure.mask, one.exposure.mask)


def test_results_do_not_depend_on_tiles_with_a_bright_star(field: Field, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles near the star are transformed in another precision, which must not show."""
    science, template, difference = field.images
    image = difference.image.copy()
    image[150, 300] += 1e6 * field.sigma
    images = science, template, Exposure(image)
    options = {"spatial": True, "svar": field.svar, "tvar": field.tvar}
    one = decorrelate(*images, field.kernel, **options)
    monkeypatch.setattr("diffim_decorr.convolution._LARGEST_TILE", 100)
    other = decorrelate(*images, field.kernel, **options)
    far = np.ones(SHAPE, bool)
    half = one.psi.shape[0] // 2
    far[150 - half : 151 + half, 300 - half : 301 + half] = False
    difference_of = np.abs(other.exposure.image.astype(float) - one.exposure.image)
    assert difference_of[far].max() <= 1e-5 * field.sigma
    # Near the star, the rounding of its own single precision pixels is all there is.
    assert (difference_of[~far] / (field.sigma + np.abs(one.exposure.image[~far]))).max() <= 1e-5


# What is reported


@pytest.mark.parametrize("tolerance", [1e-2, 1e-3, 1e-5])
@pytest.mark.parametrize(("sigma", "tvar"), [(0.8, 1.0), (2.5, 20.0)])
def test_support_and_energy_lost_are_what_is_said(tmp_path: Path, sigma: float, tvar: float, tolerance: float) -> None:
    kernel = gaussian(25, sigma)
    science, template = noise_pair(43, (200, 220), 1.0, tvar)
    paths = [tmp_path / name for name in ("sci.fits", "tmpl.fits", "diff.fits", "kernel.fits")]
    write_exposure(paths[0], science, np.full(science.shape, 1.0))
    write_exposure(paths[1], template, np.full(science.shape, tvar))
    write_exposure(paths[2], science - convolved(template, kernel), None)
    fits.writeto(paths[3], kernel)
    output = tmp_path / "out.fits"
    options = ("--svar", 1.0, "--tvar", tvar, "--tolerance", tolerance, "--json")
    said = run_command("run", *paths[:3], "--kernel", paths[3], "-o", output, *options)["psi"]
    exact = psi_of([IDENTITY, kernel], [1.0, tvar], size=512)
    half, middle = said["half_width"], exact.shape[0] // 2
    outside = exact.copy()
    outside[middle - half : middle + half + 1, middle - half : middle + half + 1] = 0
    assert said["energy_lost"] == pytest.approx((outside**2).sum() / (exact**2).sum(), rel=0.05, abs=1e-16)
    assert np.sqrt(said["energy_lost"]) <= tolerance
    assert said["frequencies_limited"] == 0
    assert said["modes"] == 1
    with fits.open(output) as hdus:
        basis = hdus["PSI_BASIS"].data
    assert basis.shape[-2:] == (2 * half + 1, 2 * half + 1)


def test_the_gain_is_limited_and_that_is_said() -> None:
    """Without science noise the noise power of a wide kernel vanishes at high frequencies."""
    kernel = gaussian(31, 2.0)
    science, template = noise_pair(44, (260, 260), 0.0, 1.0)
    images = exposures(science, template, science - convolved(template, kernel), 0.0, 1.0)
    result = decorrelate(*images, kernel, svar=0.0, tvar=1.0, max_gain=50.0)
    psi = result.psi.at(0, 0)
    transform = np.abs(np.fft.fft2(psi, s=(1200, 1200)))
    # The support is cut, which makes ripples.
    assert transform.max() == pytest.approx(50.0, rel=0.02)
    exact = np.abs(np.fft.fft2(kernel, s=(512, 512)))
    share = np.mean(exact < exact.max() / 50)
    (warning,) = (text for text in result.warnings if "gain" in text)
    assert "50" in warning
    assert any(abs(float(word.strip("%,")) / 100 - share) < 0.02 for word in warning.split() if word.endswith("%"))
    # The kernel is constant, and so is ψ.
    assert not any("varies" in text for text in result.warnings)


# Images of odd shapes


@pytest.mark.parametrize("spatial", [False, True])
@pytest.mark.parametrize("shape", [(37, 1000), (705, 40), (23, 21), (64, 65)], ids=str)
def test_images_of_any_shape(tmp_path: Path, shape: tuple[int, int], spatial: bool) -> None:
    """Strips, one pixel more than a tile, images smaller than ψ and as large as the kernel."""
    hotpants = hotpants_kernel(shape, seed=3)
    svar, tvar = 0.2, 4.0
    field = Field(hotpants, tmp_path / "diff.fits", svar, tvar, seed=45)
    result = decorrelate(*field.images, field.kernel, spatial=spatial, svar=svar, tvar=tvar)
    assert result.exposure.shape == shape
    if not spatial:
        centre = psi_of([IDENTITY, hotpants.at((shape[1] - 1) / 2, (shape[0] - 1) / 2)], [svar, tvar], size=192)
        field.psi = lambda x, y: centre  # type: ignore[method-assign]
    errors = field.errors(result, [*field.anywhere(4, 80), (0, 0), (shape[1] - 1, shape[0] - 1)])
    assert rms(errors) <= 1e-3
    assert np.all(result.exposure.variance > 0)


# LSST


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
    options = ("--kernel", LSST / "kernel.fits", "--convolved", side, "-o", tmp_path / "out.fits", "--json")
    noise = run_command("run", *inputs, *options)["noise"]
    assert noise["svar"] == pytest.approx(header["SVAR"], rel=0.01)
    assert noise["tvar"] == pytest.approx(header["TVAR"], rel=0.01)
