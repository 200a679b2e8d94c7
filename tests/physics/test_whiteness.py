"""White noise in, white noise out: for any kernel and any noise ratio, in constant and in spatial mode."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diffim_decorr import MatchingKernel, Result, SpatialKernel, decorrelate, read_kernel
from diffim_decorr.kernels.grid import GridCoefficients
from support.hotpants import Hotpants, Region, hotpants_basis, hotpants_coefficients, hotpants_kernel
from support.kernels import gaussian
from support.noise import exposures, noise_images, noise_pair
from support.reference import autocorrelation, convolved, max_abs_rho, psi_of
from support.results import assert_white, inner

KERNELS = {
    "narrow": gaussian(7, 0.6),
    "wide": gaussian(35, 3.5),
    "elongated": gaussian(31, (4.0, 1.2), angle=30),
    "off-centre": gaussian(21, 1.5, shift=(2.3, -1.7)),
    "even-sized": gaussian((20, 16), (2.0, 1.4), angle=20),
    "sum 3": gaussian(21, 1.8, total=3.0),
    "sum 0.4": gaussian(21, 1.8, total=0.4),
    "negative lobes": 1.6 * gaussian(25, 1.3) - 0.6 * gaussian(25, 2.6),
}

# Constant


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize(
    ("side", "ratio"),
    [("template", 0.01), ("template", 1.0), ("template", 100.0), ("science", 0.1), ("science", 10.0)],
)
def test_noise_is_white_for_any_kernel_and_ratio(name: str, side: str, ratio: float) -> None:
    kernel = KERNELS[name]
    science, template = noise_pair(11, (560, 560), 1.0, ratio)
    if side == "template":
        difference = science - convolved(template, kernel)
    else:
        difference = (convolved(science, kernel) - template) / kernel.sum()
    result = decorrelate(*exposures(science, template, difference, 1.0, ratio), kernel, convolved=side)
    assert_white(*inner(result, kernel))
    assert result.qa.max_abs_rho_after <= 4 / np.sqrt(result.qa.pixels_used)
    assert result.warnings == []


@pytest.mark.parametrize("name", KERNELS)
def test_the_difference_was_not_white_before(name: str) -> None:
    # That the test above can fail: what it measures is there before, and is what the kernel predicts.
    kernel = KERNELS[name]
    science, template = noise_pair(11, (560, 560), 1.0, 10.0)
    difference = (science - convolved(template, kernel))[20:-20, 20:-20]
    own = convolved(np.pad(kernel, 40), kernel[::-1, ::-1])
    middle = np.unravel_index(own.argmax(), own.shape)
    lags = own[middle[0] - 5 : middle[0] + 6, middle[1] - 5 : middle[1] + 6] / (0.1 + own.max())
    lags[5, 5] = 1.0
    error = 1 / np.sqrt(difference.size)
    # Correlated noise has correlations that scatter more than those of white noise.
    np.testing.assert_allclose(autocorrelation(difference), lags, atol=12 * error)
    assert max_abs_rho(difference) > 10 * error


@pytest.mark.parametrize(("side", "normalized"), [("template", True), ("science", True), ("science", False)])
def test_scale_of_the_difference(side: str, normalized: bool) -> None:
    """Dividing the difference by the kernel sum leaves ψ alone and divides the variance by its square."""
    kernel = gaussian(21, 1.8, total=2.5)
    science, template = noise_pair(3, (512, 512), 2.0, 0.5)
    plain = science - convolved(template, kernel) if side == "template" else convolved(science, kernel) - template
    scale = kernel.sum() if normalized else 1.0
    matching = MatchingKernel(SpatialKernel.constant(kernel), convolved=(side,), normalized=(normalized,))
    result = decorrelate(*exposures(science, template, plain / scale, 2.0, 0.5), matching)
    assert_white(*inner(result, kernel))
    unscaled = MatchingKernel(SpatialKernel.constant(kernel), convolved=(side,), normalized=(False,))
    other = decorrelate(*exposures(science, template, plain, 2.0, 0.5), unscaled)
    np.testing.assert_allclose(result.psi.at(0, 0), other.psi.at(0, 0), atol=1e-9)
    np.testing.assert_allclose(result.exposure.variance * scale**2, other.exposure.variance, rtol=1e-5)


# Noise that varies over the field


def stepped(shape: tuple[int, int], slanted: bool, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """A template variance with a step, at a column that is no multiple of 8, and the distance from the step."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    distance = x - 403 if not slanted else (x - 395 - 0.3 * (y - shape[0] / 2)) / np.hypot(1, 0.3)
    return np.where(distance >= 0, factor, 1.0), distance


@pytest.fixture(scope="module", params=[False, True], ids=["straight", "slanted"])
def depth_step(request: pytest.FixtureRequest) -> tuple[Result, Result, np.ndarray]:
    shape = (760, 800)
    kernel = gaussian(21, 1.8)
    tvar, distance = stepped(shape, request.param, 4.0)
    images = noise_images(21, shape, kernel, 1.0, tvar)
    return decorrelate(*images, kernel, spatial=True), decorrelate(*images, kernel), distance


def test_a_step_in_template_depth_leaves_both_sides_white(depth_step: tuple[Result, Result, np.ndarray]) -> None:
    result, _, distance = depth_step
    margin = max(result.psi.shape) // 2 + 10
    use = np.zeros(distance.shape, bool)
    use[margin:-margin, margin:-margin] = True
    image, variance = result.exposure.image.astype(float), result.exposure.variance
    # Within 8 pixels of a step, which is how well its place is known, the kernel may be the other side's.
    for side in (distance < -9, distance > 8):
        # Beyond ψ's reach, the noise is that of one depth, and white.
        far = np.abs(distance) > margin
        assert_white(image, variance, use & side & far)
        assert_white(image, variance, use & side)
    # The variance plane follows the noise through the step itself.
    near = use & (np.abs(distance) <= 9)
    snr = image[near] / np.sqrt(variance[near])
    assert snr.std() == pytest.approx(1, abs=4.5 / np.sqrt(2 * np.count_nonzero(near)))


def test_a_step_in_depth_is_not_followed_in_constant_mode_which_says_so(
    depth_step: tuple[Result, Result, np.ndarray],
) -> None:
    _, constant, distance = depth_step
    margin = max(constant.psi.shape) // 2 + 10
    use = np.zeros(distance.shape, bool)
    use[margin:-margin, margin:-margin] = True
    image = np.where(use, constant.exposure.image, 0).astype(float)
    left = use & (distance < -margin)
    assert max_abs_rho(image, left) > 4.5 / np.sqrt(np.count_nonzero(left))
    assert any("--spatial" in warning and "varies" in warning for warning in constant.warnings)


def test_spatial_mode_has_nothing_to_warn_of(depth_step: tuple[Result, Result, np.ndarray]) -> None:
    assert depth_step[0].warnings == []


def test_amplifiers_of_different_noise_are_each_white() -> None:
    """Four amplifiers of the science image with different read noise; their edges at odd places."""
    shape = (640, 700)
    svar = np.empty(shape)
    corner = 301, 333
    halves = (slice(0, corner[0]), slice(corner[0], None)), (slice(0, corner[1]), slice(corner[1], None))
    for (row, column), value in np.ndenumerate(np.array([[1.0, 1.5], [0.5, 3.0]])):
        svar[halves[0][row], halves[1][column]] = value
    kernel = gaussian(17, 1.5)
    images = noise_images(22, shape, kernel, svar, 2.0)
    result = decorrelate(*images, kernel, spatial=True)
    margin = 9 + 4
    for rows in halves[0]:
        for columns in halves[1]:
            use = np.zeros(shape, bool)
            use[rows, columns] = True
            for cut in (corner[0],):
                use[cut - margin : cut + margin] = False
            use[:, corner[1] - margin : corner[1] + margin] = False
            edge = max(result.psi.shape) // 2 + 8
            use[:edge] = use[-edge:] = False
            use[:, :edge] = use[:, -edge:] = False
            assert_white(result.exposure.image.astype(float), result.exposure.variance, use)


# Kernels that vary over the field


@pytest.mark.parametrize("photnorm", ["t", "i", "u"])
@pytest.mark.parametrize("side", ["template", "science"])
def test_hotpants_kernel_leaves_white_noise_of_the_right_scale(tmp_path: Path, side: str, photnorm: str) -> None:
    shape = (500, 560)
    hotpants = hotpants_kernel(shape, seed=7, total=1.7)
    hotpants.photnorm = photnorm
    hotpants.regions[0].side = side
    science, template = noise_pair(31, shape, 1.0, 2.0)
    difference = hotpants.difference(science, template)
    kernel = read_kernel(hotpants.write(tmp_path / "diff.fits", difference))
    result = decorrelate(*exposures(science, template, difference, 1.0, 2.0), kernel, spatial=True)
    assert_white(*inner(result, hotpants.basis[0]))
    # By how much the scale matters: without the division of PHOTNORM this would be wrong by a factor of 1.7².
    x, y = 200, 300
    kappas = hotpants.sides(x, y)
    psi = psi_of(kappas, [1.0, 2.0])
    wide = [np.pad(kappa, 10 - kappa.shape[0] // 2) for kappa in kappas]
    expected = sum(v * (convolved(psi, kappa) ** 2).sum() for v, kappa in zip((1.0, 2.0), wide, strict=True))
    assert result.exposure.variance[y, x] == pytest.approx(expected, rel=1e-3)


def four_regions(shape: tuple[int, int], sides: list[str], photnorm: str) -> Hotpants:
    """2 x 2 regions as `-nrx 2 -nry 2` makes them, with the buffers of HOTPANTS: half a stamp, clipped to the image."""
    gaussians, width, order = [(2, 0.9), (2, 1.8)], 17, 1
    basis = hotpants_basis(gaussians, width)
    ny, nx = shape
    stamp = min(nx // 2 // 4, ny // 2 // 4) - width
    stamp -= stamp % 2 == 0
    grow = stamp // 2
    regions = []
    for number, side in enumerate(sides):
        column, row = number % 2, number // 2
        x0, y0 = column * (nx // 2), row * (ny // 2)
        x1, y1 = (nx // 2, nx)[column], (ny // 2, ny)[row]
        frame = max(0, x0 - grow), max(0, y0 - grow), min(nx, x1 + grow), min(ny, y1 + grow)
        rng = np.random.default_rng(number)
        values = hotpants_coefficients(rng, basis, order, total=(1.4, 0.8, 1.1, 1.9)[number])
        regions.append(Region((x0, y0, x1, y1), frame, values, side))
    command = "hotpants -inim s -tmplim t -outim d -nrx 2 -nry 2 -nsx 4 -nsy 4"
    return Hotpants(shape, gaussians, width, order, regions, photnorm, command)


def test_several_regions_with_either_image_convolved(tmp_path: Path) -> None:
    shape = (520, 560)
    hotpants = four_regions(shape, ["template", "science", "science", "template"], "t")
    science, template = noise_pair(32, shape, 1.0, 1.6)
    difference = hotpants.difference(science, template)
    kernel = read_kernel(hotpants.write(tmp_path / "diff.fits", difference))
    result = decorrelate(*exposures(science, template, difference, 1.0, 1.6), kernel, spatial=True)
    margin = max(result.psi.shape) // 2 + 10
    image, variance = result.exposure.image.astype(float), result.exposure.variance
    for region in hotpants.regions:
        x0, y0, x1, y1 = region.box
        inside = slice(y0 + margin, y1 - margin), slice(x0 + margin, x1 - margin)
        assert_white(image[inside], variance[inside])


def test_a_grid_of_kernels_leaves_white_noise() -> None:
    """Bilinear between kernels at nine positions, as a cube with a table of positions is."""
    shape = (560, 600)
    knots_x, knots_y = np.array([0.0, 250.0, 599.0]), np.array([0.0, 300.0, 559.0])
    cube = np.array([gaussian(25, 1.2 + 0.15 * k, total=1.1) for k in range(9)])
    values = np.eye(9).reshape(9, 3, 3)
    kernel = SpatialKernel(cube, GridCoefficients(values, knots_x, knots_y, order=1))
    science, template = noise_pair(33, shape, 1.0, 1.5)
    rows, columns = (
        np.array([np.interp(np.arange(n), knots, one) for one in np.eye(3)])
        for n, knots in zip(shape, (knots_y, knots_x), strict=True)
    )
    weights = [np.outer(row, column) for row in rows for column in columns]
    matched = sum(w * convolved(template, image) for w, image in zip(weights, cube, strict=True))
    result = decorrelate(*exposures(science, template, science - matched, 1.0, 1.5), kernel, spatial=True)
    assert_white(*inner(result, cube[0]))
