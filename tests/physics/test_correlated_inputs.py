"""Inputs with correlated noise come out white where it is measured."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.signal import fftconvolve

from diffim_decorr import Exposure, InputError, decorrelate
from support.kernels import gaussian
from support.noise import coloured
from support.reference import max_abs_rho

SHAPE = (700, 720)


@pytest.fixture(scope="module")
def correlated() -> dict[str, np.ndarray]:
    """Inputs with different correlation functions, the same stars in both, a bad column, and their difference."""
    rng = np.random.default_rng(31)
    science, template = coloured(rng, SHAPE, 0.55, 2.0), coloured(rng, SHAPE, 0.7, 3.0)
    kernel = gaussian(15, 1.3)
    noise = science - fftconvolve(template, kernel, "same")
    stars = np.zeros(SHAPE)
    stars[rng.integers(30, 670, 60), rng.integers(30, 690, 60)] = rng.uniform(200, 5000, 60)
    sharp = gaussian_filter(stars, 1.2)
    mask = np.zeros(SHAPE, np.int32)
    mask[:, 333] = 1
    return {
        "science": science + fftconvolve(sharp, kernel, "same"),
        "template": template + sharp,
        "difference": noise,
        "kernel": kernel,
        "mask": mask,
    }


def run(fields: dict[str, np.ndarray], **options: object):
    planes = {"BAD": 0}
    return decorrelate(
        # The variance planes are wrong by factors that the measurement has to find.
        Exposure(fields["science"], 2.0 * 1.3, fields["mask"], mask_planes=planes, name="science"),
        Exposure(fields["template"], 3.0 / 1.5, fields["mask"], mask_planes=planes, name="template"),
        Exposure(fields["difference"], name="difference"),
        fields["kernel"],
        **options,
    )


@pytest.mark.parametrize("spatial", [False, True])
def test_correlated_inputs_come_out_white(correlated: dict[str, np.ndarray], spatial: bool) -> None:
    """The bars of the issue, at half of the pixels that they are for: max_abs_rho 0.01 is 7 standard errors here."""
    white, measured = run(correlated, spatial=spatial), run(correlated, spatial=spatial, noise="measured")
    inner = np.s_[40:-40, 40:-40]
    use = np.isfinite(measured.exposure.image) & ((measured.exposure.mask & 1) == 0)
    use[:40] = use[-40:] = use[:, :40] = use[:, -40:] = False

    def rho(image: np.ndarray) -> float:
        return max_abs_rho(np.where(use, image, 0.0).astype(float), use)

    assert rho(white.exposure.image) > 0.2
    assert rho(measured.exposure.image) <= 0.01
    variance = measured.exposure.variance[inner]
    snr = measured.exposure.image[inner] / np.sqrt(variance)
    assert np.std(snr[use[inner]]) == pytest.approx(1, abs=0.02)
    # Constant planes stay constant, but for the neighbourhood of the masked column.
    assert np.median(np.abs(variance / np.median(variance) - 1)) < 0.02
    factors = [image.variance_factor for image in measured.record.noise.images]
    assert factors == pytest.approx([1 / 1.3, 1.5], rel=0.03)


def test_white_mode_says_that_inputs_are_correlated(correlated: dict[str, np.ndarray]) -> None:
    assert any("--noise measured" in warning for warning in run(correlated).warnings)
    assert not any("--noise measured" in warning for warning in run(correlated, noise="measured").warnings)


def test_too_few_pixels_name_the_remedy(correlated: dict[str, np.ndarray]) -> None:
    crowded = {**correlated, "mask": np.where(np.arange(SHAPE[1]) < 717, 1, 0) * np.ones(SHAPE, np.int32)}
    with pytest.raises(InputError, match=r"source-free pixels.*--noise white"):
        run(crowded, noise="measured", svar=2.0, tvar=3.0)
