"""Peaks of a matched filter, by sign, and how many white noise has."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.fft import forward, good_size, inverse, kernel_transform

__all__ = ("count_peaks", "expected_peaks", "matched_filter")

Array = NDArray[Any]

_DRAWS = 20_000
_LEAST = 0.9  # of the weight of a PSF that has to lie on pixels that are used


def matched_filter(image: Array, variance: Array, use: Array, psf: Array) -> tuple[Array, Array]:
    """Significance of a point source at each pixel, and where it can be relied on.

    Parameters
    ----------
    image, variance, use
        Pixels (h, w); what is not used must still be finite.
    psf
        Of the image, (a, b), its centre at (a // 2, b // 2).

    Returns
    -------
    snr, known
        Σ φ D/V / sqrt(Σ φ²/V); and pixels that are used and have nearly all of the PSF on such pixels.
    """
    height, width = image.shape
    shape = good_size(height + psf.shape[0]), good_size(width + psf.shape[1])
    weight = np.where(use, 1 / np.where(use, variance, 1), 0)
    planes = np.zeros((3, *shape), dtype=np.float64)
    planes[:, :height, :width] = weight * np.where(use, image, 0), weight, use
    spectra = forward(planes)
    responses = [kernel_transform(kernel, shape, np.complex128) for kernel in (psf, psf**2, psf**2 / np.sum(psf**2))]
    # The conjugate correlates instead of convolving.
    found = [
        inverse(spectrum * np.conj(response), shape[1])[:height, :width]
        for spectrum, response in zip(spectra, responses, strict=True)
    ]
    flux, information, share = found
    known = use & (share >= _LEAST)
    snr: Array = np.where(known, flux / np.sqrt(np.where(known, information, 1)), 0)
    return snr, known


def count_peaks(snr: Array, known: Array, threshold: float) -> int:
    """Number of pixels (h, w) above a threshold that are larger than their eight neighbours."""
    padded = np.pad(snr, 1, constant_values=-np.inf)
    height, width = snr.shape
    found = known & (snr > threshold)
    for dy in (0, 1, 2):
        for dx in (0, 1, 2):
            if (dy, dx) != (1, 1):
                found &= snr >= padded[dy : dy + height, dx : dx + width]
    return int(np.count_nonzero(found))


def expected_peaks(psf: Array, threshold: float) -> float:
    """Number of such peaks per pixel in white Gaussian noise that was filtered with a PSF (h, w).

    It is P(z > t) times the probability that z is larger than its eight neighbours if it is above t. The latter is a
    mean over z drawn from the tail and neighbours drawn from their distribution given z, which the PSF's
    autocorrelation determines.
    """
    from scipy.special import log_ndtr, ndtri_exp

    shape = good_size(2 * psf.shape[0]), good_size(2 * psf.shape[1])
    auto = inverse(np.abs(kernel_transform(psf, shape, np.complex128)) ** 2 + 0j, shape[1])
    auto = auto / auto[0, 0]
    places = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]
    with_centre = np.array([auto[dy, dx] for dy, dx in places])
    mutual = np.array([[auto[a - c, b - d] for c, d in places] for a, b in places])
    values, vectors = np.linalg.eigh(mutual - np.outer(with_centre, with_centre))
    root = vectors * np.sqrt(np.maximum(values, 0))
    rng = np.random.default_rng(0)
    # Of the tail beyond t by inversion: Q(z) is uniform below Q(t).
    centre = -ndtri_exp(log_ndtr(-threshold) + np.log(rng.uniform(size=_DRAWS)))
    neighbours = centre[:, None] * with_centre + rng.normal(size=(_DRAWS, 8)) @ root.T
    highest = np.mean(np.all(neighbours < centre[:, None], axis=1))
    return float(np.exp(log_ndtr(-threshold)) * highest)
