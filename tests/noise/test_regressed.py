"""Noise that was correlated before it was resampled, and varies with the sub-pixel phase all the same."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from diffim_decorr import Exposure
from diffim_decorr.noise.halves import Halves
from diffim_decorr.noise.local import LocalNoise, local_noise_of
from diffim_decorr.noise.regressed import regressed
from diffim_decorr.noise.windows import SourceFreeWindows
from support.warped import Resampled

SHAPE = 400, 420


def fitted(image: Resampled, pixels: np.ndarray) -> LocalNoise | None:
    exposure = Exposure(pixels, warps=[image.warp])
    windows = SourceFreeWindows([exposure], (), 1)
    return regressed(local_noise_of(exposure), windows, None, Halves.of(SHAPE))


def test_it_is_that_of_many_realisations() -> None:
    """Covariances where the phase is 0 and where it is half a pixel, from one image, and from 60 of the same warp."""
    image = Resampled("bilinear", 0.5, SHAPE)

    def noise(rng: np.random.Generator) -> np.ndarray:
        return image.of(gaussian_filter(rng.standard_normal(image.before), 0.5))

    found = fitted(image, noise(np.random.default_rng(1)))
    assert found is not None
    rng = np.random.default_rng(2)
    u, v = image.u % 1, image.v % 1
    on, between = (
        (np.abs((u - p + 0.5) % 1 - 0.5) < 0.15) & (np.abs((v - p + 0.5) % 1 - 0.5) < 0.15) for p in (0, 0.5)
    )
    total, variance, next_to = 0.0, np.zeros(2), np.zeros(2)
    for _ in range(60):
        pixels = noise(rng)
        total += float((pixels**2).mean())
        right = pixels * np.roll(pixels, -1, axis=1)
        variance += [(pixels[where] ** 2).mean() for where in (on, between)]
        next_to += [right[where].mean() for where in (on, between)]
    middle = len(found.correlation.usual) // 2
    model = []
    for where in (on, between):
        y, x = (axis[:4000].astype(float) for axis in np.nonzero(where))
        model.append(found.correlation.kernel.sample(x, y).mean(axis=0)[middle, middle : middle + 2])
    # Half of 168 000 pixels tell a harmonic to about 0.01; of these there are some twenty, and what they do not tell
    # is left out.
    np.testing.assert_allclose(np.transpose(model), np.array([variance, next_to]) / total, atol=0.1)
    assert variance[0] / variance[1] > 1.5
    plane = found.structure.read_all()
    assert plane[on].mean() / plane[between].mean() > 1.5


def test_noise_that_does_not_vary_with_the_phase() -> None:
    image = Resampled("bilinear", 0.5, SHAPE)
    assert fitted(image, np.random.default_rng(3).standard_normal(SHAPE)) is None


def test_beats_that_are_too_short() -> None:
    image = Resampled("bilinear", 20.0, SHAPE)
    assert fitted(image, image.noise(np.random.default_rng(4))) is None
