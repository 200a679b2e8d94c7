"""Images whose matching kernel has regions."""

from __future__ import annotations

import numpy as np
import pytest

from diffim_decorr import Box, InputError, decorrelate
from support.kernels import gaussian
from support.noise import noise_images
from support.regions import in_regions
from support.results import assert_white
from support.tiles import tile_count

KERNEL = gaussian(11, 1.4)


@pytest.mark.parametrize("spatial", [False, True])
def test_pixels_between_regions_hold_nothing(spatial: bool) -> None:
    """Where there was no kernel there is no difference: NaN and NO_DATA, in tiles that touch no region as well."""
    shape = 60, 1100
    assert tile_count(shape) >= 2
    regions = in_regions((Box(0, 0, 200, 60), KERNEL), (Box(900, 0, 1100, 60), KERNEL))
    result = decorrelate(*noise_images(1, shape, KERNEL, 1.0, 1.0), regions, spatial=spatial)
    image, gap = result.exposure.image, np.s_[:, 200:900]
    no_data = (result.exposure.mask & (1 << result.exposure.mask_planes["NO_DATA"])) != 0
    assert np.isnan(image[gap]).all()
    assert no_data[gap].all()
    for part in (np.s_[:, :200], np.s_[:, 900:]):
        assert np.isfinite(image[part]).all()
        assert not no_data[part].any()


def test_a_centre_between_regions_is_no_place_for_a_kernel() -> None:
    """The nearest place that has one is taken, and that is said; a place that was asked for has to have one."""
    shape = 240, 240
    regions = in_regions((Box(0, 0, 100, 240), KERNEL), (Box(140, 0, 240, 240), KERNEL))
    images = noise_images(2, shape, KERNEL, 100.0, 400.0)
    result = decorrelate(*images, regions)
    assert any("--kernel-at" in warning for warning in result.warnings)
    inner = np.s_[20:-20, 20:80]
    assert_white(result.exposure.image[inner], result.exposure.variance[inner])
    assert not any("--kernel-at" in w for w in decorrelate(*images, regions, kernel_at=(50, 120)).warnings)
    with pytest.raises(InputError, match="none of its 2 regions has the position 120 120"):
        decorrelate(*images, regions, kernel_at=(120, 120))
