"""Pixels against brute force: a kernel of its own for each pixel, by the definition of convolution."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diffim_decorr import Exposure, Result, decorrelate
from support.field import SEAM, SHAPE, Field
from support.hotpants import Hotpants, Region, hotpants_basis, hotpants_coefficients, hotpants_kernel
from support.kernels import IDENTITY
from support.reference import psi_of, rms, widened
from support.tiles import column_seams, tile_count

NY, NX = SHAPE
TOLERANCES = {"default": ({}, 1e-3), "1e-5": ({"tolerance": 1e-5}, 2e-5)}


@pytest.fixture(scope="module", params=TOLERANCES)
def result(request: pytest.FixtureRequest, field: Field) -> tuple[Result, float]:
    options, bar = TOLERANCES[request.param]
    return field.kept(**options), bar


def test_a_kernel_for_each_pixel(field: Field, result: tuple[Result, float]) -> None:
    errors = field.errors(result[0], field.anywhere(1, 250))
    assert rms(errors) <= result[1]
    assert np.abs(errors).max() <= 5 * result[1]


def test_no_seam_between_tiles(field: Field, result: tuple[Result, float]) -> None:
    assert column_seams(SHAPE) == [SEAM]
    rows = range(10, NY, 7)
    left = field.errors(result[0], [(SEAM - 1, y) for y in rows])
    right = field.errors(result[0], [(SEAM, y) for y in rows])
    assert rms(np.concatenate([left, right])) <= result[1]
    # Were there a seam, neighbours across it would have unrelated errors, and a common offset.
    assert rms(right - left) <= 1e-3
    assert abs((right - left).mean()) <= 2e-4


def test_the_kernel_itself(field: Field, result: tuple[Result, float]) -> None:
    """The norm of ψ's error is the rms error that it makes in units of white noise."""
    got, bar = result
    for x, y in [*field.anywhere(2, 12), (0, 0), (NX - 1, NY - 1), (SEAM, 150)]:
        psi = got.psi.at(x, y)
        exact = field.psi(x, y)
        power = 1 / np.sum(exact**2)  # of the difference's noise, as a share of what white noise would have
        assert np.sqrt(np.sum((widened(psi, exact.shape) - exact) ** 2) * power) <= 3 * bar
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
    """Where ψ reaches over the edge, what is missing counts as background, on the sides of every tile."""
    assert column_seams(SHAPE) == [SEAM]
    edges = [(x, y) for x in range(0, NX, 19) for y in (0, NY - 1)]
    edges += [(x, y) for y in range(0, NY, 11) for x in (0, 1, NX - 2, NX - 1)]
    edges += [(x, y) for x in (0, SEAM - 1, SEAM, NX - 1) for y in (0, NY - 1)]
    assert rms(field.errors(result[0], edges)) <= result[1]


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


@pytest.mark.parametrize("spatial", [False, True])
@pytest.mark.parametrize("shape", [(37, 1100), (865, 40), (23, 21), (64, 65)], ids=str)
def test_images_of_any_shape(tmp_path: Path, shape: tuple[int, int], spatial: bool) -> None:
    """Strips of two tiles, one pixel more than a tile, images smaller than ψ and as large as the kernel."""
    assert tile_count(shape) == (2 if max(shape) > 800 else 1)
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
