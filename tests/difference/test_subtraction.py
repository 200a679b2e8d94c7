"""Inputs that do not go together are told in one line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from diffim_decorr import Exposure, InputError, SpatialKernel, decorrelate
from diffim_decorr.kernels.coefficients import PolynomialCoefficients
from support.kernels import gaussian
from support.noise import noise_pair

KERNEL = gaussian(15, 1.5, total=1.2)


def test_positions_of_a_kernel_are_in_the_parent_frame_of_a_cutout() -> None:
    """A cutout of an LSST exposure: the kernel's positions count from the parent's first pixel."""
    coefficients = PolynomialCoefficients(
        np.array([[1.0, -1.0], [0.0, 1.0]]), np.array([[0, 0], [1, 0]]), (0.0, 0.0), (1000.0, 1.0)
    )
    kernel = SpatialKernel(np.array([gaussian(15, 1.2), gaussian(15, 2.0)]), coefficients)
    images = noise_pair(74, (120, 130), 1.0, 1.0)
    made = [
        Exposure(image, v, xy0=(400, 30))
        for image, v in zip((*images, images[0] - images[1]), (1, 1, None), strict=True)
    ]
    psi = decorrelate(*made, kernel).psi.at(0, 0)
    here = SpatialKernel.constant(kernel.at(400 + 64.5, 30 + 59.5))
    expected = decorrelate(*[Exposure(e.image, e.variance) for e in made], here).psi.at(0, 0)
    np.testing.assert_allclose(psi, expected, atol=1e-7)


def images(**changes: Any) -> dict[str, Any]:
    science, template = noise_pair(75, (90, 100), 1.0, 1.0)
    made: dict[str, Any] = {
        "science": Exposure(science, 1.0, name="science"),
        "template": Exposure(template, 1.0, name="template"),
        "difference": Exposure(science - template, name="difference"),
        "kernel": KERNEL,
    }
    return made | changes


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "tolerance": ({"tolerance": 0}, "tolerance"),
    "tolerance nan": ({"tolerance": np.nan}, "tolerance"),
    "max gain": ({"max_gain": 0.5}, "max_gain"),
    "bad fraction": ({"bad_fraction": 1.5}, "bad_fraction"),
    "threads": ({"threads": 0}, "threads"),
    "node spacing": ({"node_spacing": -1}, "node_spacing"),
    "variance": ({"variance": "none"}, "variance"),
    "convolved": ({"convolved": "both"}, "convolved"),
    "svar": ({"svar": -1.0}, "svar"),
    "no noise": ({"svar": 0.0, "tvar": 0.0}, "noise"),
    "kernel at": ({"kernel_at": (1000.0, 5.0)}, "kernel_at"),
    "kernel at in spatial mode": ({"kernel_at": (10.0, 5.0), "spatial": True}, "kernel_at"),
    "kernel of NaN": ({"kernel": np.full((5, 5), np.nan)}, "finite"),
    "kernel of zeros": ({"kernel": np.zeros((5, 5))}, "zeros"),
    "kernel of one dimension": ({"kernel": np.ones(5)}, "2-D"),
    "kernel of text": ({"kernel": np.array([["a"]])}, "numbers"),
    "kernel too large": ({"kernel": np.ones((95, 95))}, "95 x 95"),
    "kernel that sums to zero": ({"kernel": np.array([[1.0, -1.0]]), "svar": 0.0}, "sum of the matching kernel is 0"),
    "science kernel that sums to zero": ({"kernel": np.array([[1.0, -1.0]]), "convolved": "science"}, "sum"),
    "shapes": ({"template": Exposure(np.zeros((90, 99)), 1.0, name="template")}, "template.*99 x 90"),
    "no variance > 0": ({"science": Exposure(np.zeros((90, 100)), np.zeros((90, 100)), name="science")}, "science"),
    "no noise to measure": ({"science": Exposure(np.zeros((90, 100)), name="science")}, "science.*--svar, --tvar"),
    "parent frames": (
        {
            "science": Exposure(np.zeros((90, 100)), 1.0, xy0=(3, 4), name="science"),
            "difference": Exposure(np.zeros((90, 100)), xy0=(5, 4)),
        },
        "science.*parent",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_bad_input_is_told_in_one_line(name: str) -> None:
    changes, text = WRONG[name]
    given = images(**changes)
    positional = [given.pop(key) for key in ("science", "template", "difference", "kernel")]
    with pytest.raises(InputError, match=text) as error:
        decorrelate(*positional, **given)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300
