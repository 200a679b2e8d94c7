"""Two halves of the pixels: on one the variance is calibrated, on the other the result is judged.

A figure that was made 1 on some pixels says nothing on these. The halves are the squares of a checkerboard, so that
both are spread over the field alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.geometry import Box

__all__ = ("Halves",)

Array = NDArray[Any]

_LARGEST, _SMALLEST = 64, 8
_ALONG = 4  # squares along the shorter side of a small image


@dataclass(frozen=True)
class Halves:
    """A checkerboard over a field.

    Parameters
    ----------
    size
        Of its squares, in pixels.
    """

    size: int

    @classmethod
    def of(cls, shape: tuple[int, int]) -> Halves:
        """That of an image (ny, nx), whose squares are so small that there are several."""
        return cls(max(_SMALLEST, min(_LARGEST, min(shape) // _ALONG)))

    def calibrated(self, box: Box) -> Array:
        """The pixels of a box that are of the half that is calibrated on."""
        rows, columns = (np.arange(*ends) // self.size for ends in ((box.y0, box.y1), (box.x0, box.x1)))
        mine: Array = (rows[:, None] + columns) % 2 == 0
        return mine
