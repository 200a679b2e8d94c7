"""White noise, and exposures of it."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from diffim_decorr import Exposure
from support.reference import convolved

__all__ = ("PLANES", "coloured", "exposures", "noise_images", "noise_pair", "white")

#: Bits of the mask planes of all exposures here.
PLANES = {"BAD": 0, "SAT": 1, "INTRP": 2, "CR": 3, "EDGE": 4, "DETECTED": 5, "DETECTED_NEGATIVE": 6, "NO_DATA": 8}


def white(rng: np.random.Generator, shape: tuple[int, int], variance: float | np.ndarray = 1.0) -> np.ndarray:
    return rng.normal(size=shape) * np.sqrt(variance)


def coloured(rng: np.random.Generator, shape: tuple[int, int], sigma: float, level: float) -> np.ndarray:
    """Noise of a given variance with the correlation function of a Gaussian smoothing."""
    noise = gaussian_filter(rng.normal(size=shape), sigma, mode="wrap")
    return noise * np.sqrt(level) / noise.std()


def noise_pair(
    seed: int, shape: tuple[int, int], svar: float | np.ndarray, tvar: float | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return white(rng, shape, svar), white(rng, shape, tvar)


def exposures(
    science: np.ndarray,
    template: np.ndarray,
    difference: np.ndarray,
    svar: float | np.ndarray,
    tvar: float | np.ndarray,
) -> tuple[Exposure, Exposure, Exposure]:
    """Science, template and difference as a survey has them: single precision, with variance planes, masks clear."""
    clear = np.zeros(science.shape, "i4")
    single = [a.astype("f4") for a in (science, template, difference)]
    variances = [np.broadcast_to(np.asarray(v, "f4"), science.shape).copy() for v in (svar, tvar)]
    return (
        Exposure(single[0], variances[0], clear.copy(), mask_planes=PLANES, name="science"),
        Exposure(single[1], variances[1], clear.copy(), mask_planes=PLANES, name="template"),
        Exposure(single[2], None, clear.copy(), mask_planes=PLANES, name="difference"),
    )


def noise_images(
    seed: int, shape: tuple[int, int], kernel: np.ndarray, svar: float | np.ndarray, tvar: float | np.ndarray
) -> tuple[Exposure, Exposure, Exposure]:
    """Exposures of a noise pair, and of its difference with the template convolved."""
    science, template = noise_pair(seed, shape, svar, tvar)
    return exposures(science, template, science - convolved(template, kernel), svar, tvar)
