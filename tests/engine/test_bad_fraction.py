"""The share of the kernel on replaced pixels above which a pixel is flagged."""

from __future__ import annotations

import numpy as np

from diffim_decorr import decorrelate
from support.files import has_plane
from support.kernels import gaussian
from support.noise import noise_images

KERNEL = gaussian(11, 1.4)


def test_no_share_at_all() -> None:
    """At a bad fraction of 0 the pixels are flagged that ψ reaches the masked one from, and no rounding error is."""
    science, template, difference = noise_images(8, (200, 200), KERNEL, 1.0, 2.0)
    science.mask[100, 100] = 1 << science.mask_planes["SAT"]
    result = decorrelate(science, template, difference, KERNEL, bad_fraction=0.0)
    half = result.psi.shape[0] // 2
    inner = slice(2 * half + 1, -(2 * half + 1))
    flagged = has_plane(result.exposure, "DECORR_BAD")[inner, inner]
    around = np.zeros((200, 200), bool)
    around[100 - half : 101 + half, 100 - half : 101 + half] = True
    assert not flagged[~around[inner, inner]].any()
    assert flagged.sum() >= 0.9 * (2 * half + 1) ** 2
