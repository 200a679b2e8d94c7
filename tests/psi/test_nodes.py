"""ψ at the nodes over the field."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from diffim_decorr import SpatialKernel
from diffim_decorr.geometry import Box
from diffim_decorr.kernels.coefficients import PolynomialCoefficients
from diffim_decorr.kernels.grid import GridCoefficients
from diffim_decorr.noise.field import NoiseField
from diffim_decorr.psi import build, modes, nodes
from diffim_decorr.psi.build import Decorrelation, build_decorrelation
from diffim_decorr.threads import serial_blas
from support.field import Field
from support.kernels import gaussian
from support.reference import psi_of, rms, widened


def test_nodes_whose_samples_are_not_kept(field: Field, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where modes of variance kernels and of |ψ| are found at a few nodes only, these and the flags are the same."""
    kept = field.decorrelated()
    monkeypatch.setattr(modes, "_MOST_KEPT", 20)
    streamed = field.decorrelated()
    np.testing.assert_array_equal(streamed.psi.at(333, 171), kept.psi.at(333, 171))
    np.testing.assert_allclose(streamed.exposure.variance, kept.exposure.variance, rtol=1e-3)
    # Of the pixels along the edges few are so near the limit that a thousandth of ψ decides.
    assert (streamed.exposure.mask != kept.exposure.mask).mean() < 1e-3


@pytest.fixture
def varying() -> list[SpatialKernel]:
    """A template's kernel that widens along one diagonal and shifts along the other."""
    images = np.array([gaussian(21, 1.0), gaussian(21, 2.4), gaussian(21, 1.4, shift=(1.5, -1.0))])
    powers = np.array([(0, 0), (1, 0), (0, 1), (1, 1)])
    values = np.array([[0.8, 0.1, 0.1, 0.0], [0.3, 0.3, 0.2, 0.1], [0.0, -0.2, 0.2, 0.0]])
    polynomials = PolynomialCoefficients(values, powers, (250.0, 200.0), (250.0, 200.0))
    return [SpatialKernel.identity(), SpatialKernel(images, polynomials)]


def _errors(
    made: Decorrelation, inputs: Sequence[SpatialKernel], variances: Callable[[float, float], list[float]]
) -> list[float]:
    """Of ψ at some places, as the rms of its pixels."""
    rng = np.random.default_rng(11)
    errors = []
    for x, y in zip(rng.uniform(0, 499, 40), rng.uniform(0, 399, 40), strict=True):
        exact = psi_of([kernel.at(x, y) for kernel in inputs], variances(x, y), 192)
        errors.append(float(np.linalg.norm(widened(made.psi.at(x, y), exact.shape) - exact)))
    return errors


def test_few_bytes_mean_few_images_and_a_larger_error(
    varying: list[SpatialKernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """ψ is made of as many images as there are bytes for; what that costs is part of the error that is said."""
    noise, seen = NoiseField((1.0, 2.0)), []
    images_of = modes.images_of

    def spied(*given: Any) -> Any:
        seen.append(images_of(*given))
        return seen[-1]

    monkeypatch.setattr(build, "images_of", spied)
    enough, few = (build_decorrelation(varying, noise, (400, 500), memory=memory) for memory in (256 << 20, 60 << 10))
    taken = [psi.nbytes + chains.images.nbytes for psi, chains, _ in seen]
    assert taken[1] <= (60 << 10) / 3 < taken[0]
    assert enough.error <= 1e-3 < few.error
    assert rms(np.array(_errors(enough, varying, lambda x, y: [1.0, 2.0]))) <= 1e-3
    assert 1e-3 < rms(np.array(_errors(few, varying, lambda x, y: [1.0, 2.0]))) <= 1.5 * few.error


@pytest.mark.parametrize(("tolerance", "bar"), [(1e-3, 1e-3), (1e-5, 2e-5)])
def test_a_kernel_that_varies_between_knots_of_the_noise_ratio(
    varying: list[SpatialKernel], tolerance: float, bar: float
) -> None:
    """The noise ratio is known at knots far from each other; the kernel varies in between, and ψ with it."""
    x, y = np.linspace(0, 499, 5), np.linspace(0, 399, 4)
    ratio = GridCoefficients(0.4 + 1e-2 * np.arange(20.0).reshape(1, 4, 5) / 20, x, y)
    noise = NoiseField((1.0, 1.5), log_ratio=ratio)
    made = build_decorrelation(varying, noise, (400, 500), tolerance=tolerance)
    assert made.error <= tolerance
    errors = _errors(made, varying, lambda x, y: [1.0, float(np.exp(ratio.at(np.array([x]), np.array([y]))[0, 0]))])
    assert rms(np.array(errors)) <= bar


def test_the_same_at_any_number_of_threads(varying: list[SpatialKernel]) -> None:
    x, y = np.linspace(0, 499, 5), np.linspace(0, 399, 4)
    ratio = GridCoefficients(0.3 * np.sin(np.arange(20.0)).reshape(1, 4, 5), x, y)
    noise = NoiseField((1.0, 1.5), log_ratio=ratio)
    with serial_blas():
        one, three = (build_decorrelation(varying, noise, (400, 500), threads=threads) for threads in (1, 3))
    for mine, other in zip(one.parts, three.parts, strict=True):
        np.testing.assert_array_equal(mine.psi.basis, other.psi.basis)
        np.testing.assert_array_equal(mine.variance.bases, other.variance.bases)
        np.testing.assert_array_equal(mine.footprint.basis, other.footprint.basis)
        assert mine.error == other.error


def test_the_variance_kernels_have_the_variance_of_white_noise(varying: list[SpatialKernel]) -> None:
    """After whitening the noise has the power everywhere that it had at frequency zero, where the gain has no limit."""
    (part,) = build_decorrelation(varying, NoiseField((1.0, 2.0)), (400, 500)).parts
    rng = np.random.default_rng(12)
    for x, y in zip(rng.uniform(0, 499, 20), rng.uniform(0, 399, 20), strict=True):
        amounts = part.variance.coefficients.at(np.array([x]), np.array([y]))[:, 0]
        sums = np.tensordot(part.variance.bases.sum(axis=(2, 3)), amounts, axes=1)
        power = [kernel.sum_at(x, y) ** 2 for kernel in varying]
        assert sums @ [1, 2] == pytest.approx(power[0] + 2 * power[1], rel=3e-5)


def test_progress_is_told(varying: list[SpatialKernel]) -> None:
    said: list[tuple[int, int]] = []
    build_decorrelation(
        varying, NoiseField((1.0, 2.0)), (400, 500), progress=lambda done, total: said.append((done, total))
    )
    assert said == sorted(said)
    assert len(said) >= 4
    assert said[-1][0] == said[-1][1] == said[0][1]


def _noise_ratio(low: float, high: float) -> NoiseField:
    ratio = GridCoefficients(np.array([[[low, high]]]), np.array([0.0, 199.0]), np.array([0.0]))
    return NoiseField((1.0, np.exp((low + high) / 2)), log_ratio=ratio)


@pytest.mark.parametrize(("span", "several"), [(1e-4, False), (1.1e-3, False), (4e-3, True), (1.0, True)])
def test_one_noise_ratio_stands_for_a_small_range(span: float, several: bool) -> None:
    """Where the noise ratio varies so little that ψ follows by less than the tolerance, ψ is that of its middle."""
    matched = [SpatialKernel.identity(), SpatialKernel.constant(gaussian(15, 1.5))]
    made = build_decorrelation(matched, _noise_ratio(0.3, 0.3 + span), (200, 200))
    assert made.psi.is_constant != several
    assert made.error <= 1e-3
    ends: Sequence[NoiseField] = [NoiseField((1.0, np.exp(0.3 + k * span))) for k in (0, 1)]
    for x, noise in zip((0, 199), ends, strict=True):
        exact = build_decorrelation(matched, noise, (200, 200), at=(0, 0), recipe=None).psi.at(0, 0)
        mine = made.psi.at(x, 100)
        half = min(len(exact), len(mine)) // 2
        inner = [image[tuple(slice(n // 2 - half, n // 2 + half + 1) for n in image.shape)] for image in (exact, mine)]
        assert np.sqrt(((inner[0] - inner[1]) ** 2).sum()) <= (1e-3 if several else made.error + 1e-5)


def test_the_range_of_the_noise_ratio_is_that_of_the_box() -> None:
    """A step of the noise outside a region is none of its business."""
    x = np.array([0.0, 99.0, 101.0, 199.0])
    step = GridCoefficients(np.array([[[0.2, 0.2, 1.5, 1.5]]]), x, np.array([0.0]))
    noise = NoiseField((1.0, 1.0), log_ratio=step)
    assert nodes.ratio_range(noise, Box(0, 0, 100, 50)) == (0.2, 0.2)
    assert nodes.ratio_range(noise, Box(102, 0, 200, 50)) == (1.5, 1.5)
    assert nodes.ratio_range(noise, Box(0, 0, 200, 50)) == (0.2, 1.5)
