"""Rectangles of pixels."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from diffim_decorr.geometry import Box, divided

FIELD = Box(0, 0, 90, 60)
DIVISIONS = {
    "none": (),
    "one": (FIELD,),
    "a part": (Box(10, 5, 40, 50),),
    "two by two": (Box(0, 0, 45, 30), Box(45, 0, 90, 30), Box(0, 30, 45, 60), Box(45, 30, 90, 60)),
    "sharing a column and a row": (Box(0, 0, 46, 31), Box(45, 0, 90, 31), Box(0, 30, 46, 60), Box(45, 30, 90, 60)),
    "a gap": (Box(0, 0, 30, 60), Box(60, 0, 90, 60)),
    "one inside another": (FIELD, Box(20, 20, 30, 30)),
    "one hidden by another": (Box(20, 20, 30, 30), FIELD),
    "staggered": (Box(0, 0, 30, 40), Box(30, 0, 90, 25), Box(30, 25, 90, 60), Box(0, 40, 30, 60)),
    "beyond the field": (Box(-20, -5, 30, 90), Box(50, 10, 200, 20)),
    "outside of it": (Box(100, 0, 120, 60), Box(0, 0, 90, 60)),
}


@pytest.mark.parametrize("boxes", DIVISIONS.values(), ids=DIVISIONS)
def test_a_field_is_divided_without_rest(boxes: tuple[Box, ...]) -> None:
    """Every pixel is in one piece, of the last box that has it; bands go all across, and none could be joined."""
    owner = np.full((60, 90), -1)
    for number, box in enumerate(boxes):
        owner[box.clipped(owner.shape).slices] = number
    found = np.full((60, 90), -2)
    bands = divided(FIELD, boxes)
    for band in bands:
        assert band[0][0].x0 == 0
        assert band[-1][0].x1 == 90
        assert len({(piece.y0, piece.y1) for piece, _ in band}) == 1
        for piece, number in band:
            assert (found[piece.slices] == -2).all()
            found[piece.slices] = -1 if number is None else number
        assert all(left[1] != right[1] for left, right in pairwise(band))
    np.testing.assert_array_equal(found, owner)
    cuts = [[(piece.x0, number) for piece, number in band] for band in bands]
    assert all(below != above for below, above in pairwise(cuts))
