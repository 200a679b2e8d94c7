"""ψ at the nodes over the field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from diffim_decorr import SpatialKernel
from diffim_decorr.geometry import Box
from diffim_decorr.kernels.grid import GridCoefficients
from diffim_decorr.noise.field import NoiseField
from diffim_decorr.psi import build, nodes, trial
from diffim_decorr.psi.build import build_decorrelation
from support.field import Field
from support.kernels import gaussian


def test_nodes_whose_samples_are_not_kept(field: Field, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where memory holds the samples of a few nodes only, ψ, its variance and its flags are the same."""
    kept = field.decorrelated()
    monkeypatch.setattr(trial, "_KEPT", 0)
    monkeypatch.setattr(trial, "_FEWEST_KEPT", 20)
    streamed = field.decorrelated()
    assert streamed.record.psi.node_spacing == kept.record.psi.node_spacing
    assert streamed.record.psi.error <= 1e-3
    for x, y in ((5, 7), (150, 80), (333, 171)):
        change = streamed.psi.at(x, y) - kept.psi.at(x, y)
        assert np.sqrt((change**2).sum()) <= 2e-3
    np.testing.assert_allclose(streamed.exposure.variance, kept.exposure.variance, rtol=1e-3)
    # Of the pixels along the edges few are so near the limit that a thousandth of ψ decides.
    assert (streamed.exposure.mask != kept.exposure.mask).mean() < 1e-3


def test_memory_does_not_grow_with_the_nodes(field: Field, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many samples are kept as there are bytes for, however many nodes there are."""
    made: list[trial.Trial] = []

    def spied(*given: Any) -> trial.Trial:
        made.append(trial.psi_from_nodes(*given))
        return made[-1]

    monkeypatch.setattr(build, "psi_from_nodes", spied)
    monkeypatch.setattr(trial, "_KEPT", 1 << 20)
    monkeypatch.setattr(trial, "_FEWEST_KEPT", 5)
    field.decorrelated(tolerance=1e-5)
    assert max(one.nodes.count for one in made) > max(len(one.kept) for one in made)
    for one in made:
        # Besides its pixels a sample has its sum.
        assert one.samples.nbytes + one.squares.nbytes <= max((1 << 20) + 8 * len(one.kept), 5 * one.samples[0].nbytes)


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
