"""ψ anywhere as a sum of ψ at a few places."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from diffim_decorr import SpatialKernel
from diffim_decorr.geometry import Box
from diffim_decorr.kernels.coefficients import PolynomialCoefficients
from diffim_decorr.noise.field import NoiseField
from diffim_decorr.psi.nodes import Nodes, Places, probes_of
from diffim_decorr.psi.sampler import Recipe
from diffim_decorr.psi.span import Span, quadrature_of
from diffim_decorr.psi.support import Support, support_of
from diffim_decorr.psi.trial import Wanted, trial_of
from support.kernels import gaussian

_BOX = Box(0, 0, 300, 300)
_LIMIT = 1e-3


@pytest.fixture(scope="module")
def support() -> Support:
    """Of a slanted kernel that widens along x and shifts along y, so that its transform is not real."""
    images = np.array([gaussian(15, (0.9, 1.6), 0.6), gaussian(15, 2.0), gaussian(15, 1.3, shift=(0.0, 2.0))])
    powers = np.array([(0, 0), (1, 0), (0, 1)])
    values = np.array([[0.6, -0.3, 0.0], [0.4, 0.3, 0.1], [0.0, 0.0, 0.3]])
    kernel = SpatialKernel(images, PolynomialCoefficients(values, powers, (150.0, 150.0), (150.0, 150.0)))
    noise = NoiseField((1.0, 1.0))
    probes = probes_of(_BOX, np.array([-0.2, 0.4]), False)
    return support_of([SpatialKernel.identity(), kernel], noise, Recipe(), probes, 1e-3, 1)


def _places(seed: int, count: int) -> Places:
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 299, count), rng.uniform(0, 299, count), rng.uniform(-0.2, 0.4, count)


@pytest.mark.parametrize("count", [256, 10**6])
def test_amounts_from_few_frequencies_hold_for_all(support: Support, count: int) -> None:
    """What is left of ψ, and of ψ ⊗ κ, is as little at all frequencies as at those that were looked at."""
    probes = probes_of(_BOX, np.array([0.1]), False).positions
    quadrature = quadrature_of(support, probes, count, np.array([1.0, 1.0]), 1e-3)
    sampler = support.sampler
    assert len(quadrature.roots) <= min(count + 1, sampler.frequencies)
    span = Span.empty(quadrature).extended(_places(1, 300), np.ones(300), _LIMIT, 100, 1)
    assert 4 < span.count < 40
    wanted = _places(2, 40)
    found = span.amounts(wanted, 1)
    shares = span.shares(found.values)
    own, there = sampler.spectra(span.places), sampler.spectra(wanted)
    left = np.sqrt((there.psi - shares @ own.psi) ** 2 @ sampler.weights)
    assert left.max() < 3 * _LIMIT
    assert np.sqrt(np.mean(found.left**2)) == pytest.approx(np.sqrt(np.mean(left**2)), rel=0.3)
    mine, other = own.chains[1], there.chains[1]
    assert mine is not None
    assert other is not None
    (real, imaginary), (exact, exact_imaginary) = mine, other
    assert imaginary is not None
    assert exact_imaginary is not None
    off = (exact - shares @ real) ** 2 + (exact_imaginary - shares @ imaginary) ** 2
    assert np.sqrt(off @ sampler.weights).max() < 5 * _LIMIT


def test_no_more_places_than_are_allowed(support: Support) -> None:
    probes = probes_of(_BOX, np.array([0.1]), False).positions
    quadrature = quadrature_of(support, probes, 256, np.array([1.0, 1.0]), 1e-3)
    span = Span.empty(quadrature).extended(_places(1, 300), np.ones(300), _LIMIT, 3, 1)
    assert span.count == 3
    found = span.amounts(_places(1, 300), 1)
    assert found.left.max() > _LIMIT
    assert span.extended(_places(1, 300), found.left, _LIMIT, 5, 1).count == 5


def test_places_are_added_until_nothing_is_left(support: Support) -> None:
    """Of those in a corner of the field ψ is not made elsewhere."""
    probes = probes_of(_BOX, np.array([0.1]), False).positions
    quadrature = quadrature_of(support, probes, 1024, np.array([1.0, 1.0]), 1e-3)
    x, y, log_ratio = _places(1, 100)
    corner = Span.empty(quadrature).extended((x / 10, y / 10, log_ratio), np.ones(100), 1e-2, 100, 1)
    nodes = Nodes.over(_BOX, 20, np.array([-0.2, 0.1, 0.4]))
    wanted = Wanted(1e-3, 20, np.array([1.0, 1.0]), 100, 1)
    left = corner.amounts(nodes.positions, 1).left
    assert left.max() > 1e-2
    trial = trial_of(corner, nodes, 1.0, wanted)
    assert trial.span_error < 4e-4
    assert trial.span.amounts(nodes.positions, 1).left_of_all.max() < 5e-4
    np.testing.assert_array_equal(trial.span.places[0][: corner.count], corner.places[0])
    # No more than are allowed, and what is left then is said.
    few = trial_of(corner, nodes, 1.0, replace(wanted, places=corner.count))
    assert few.span_error == pytest.approx(np.sqrt(nodes.areas @ left**2 / nodes.count), rel=1e-6)


def test_images_are_those_of_the_spectra(support: Support) -> None:
    """Windows of even and of other images, against plain transforms."""
    sampler, wanted = support.sampler, _places(3, 3)
    spectra = sampler.spectra(wanted)
    psi, chains = sampler.images(spectra, 9, 12)
    grid = (3, sampler.size, sampler.size // 2 + 1)
    chain = spectra.chains[1]
    assert chain is not None
    assert chain[1] is not None
    for whole, part, half in (
        (spectra.psi, np.concatenate([psi[:, :0:-1, ::-1], psi], axis=1), 9),
        (spectra.psi, chains[0], 12),
        (chain[0] + 1j * chain[1], chains[1], 12),
    ):
        offsets = np.arange(-half, half + 1)
        exact = np.fft.irfft2(whole.reshape(grid), s=grid[1:2] * 2)[:, offsets[:, None], offsets]
        np.testing.assert_allclose(part, exact, rtol=0, atol=1e-14)
