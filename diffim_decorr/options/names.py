"""What options can be named by: sides, formats, models, mask planes."""

from __future__ import annotations

from typing import Literal

__all__ = (
    "BAD_PLANES",
    "REPLACED_PLANES",
    "SIDES",
    "UNUSABLE_PLANES",
    "WARP",
    "WARP_FORM",
    "WARP_PATTERN",
    "CalibrateName",
    "KernelFormat",
    "LayoutName",
    "NoiseModelName",
    "Side",
)

Side = Literal["template", "science"]
SIDES: tuple[Side, Side] = ("science", "template")
KernelFormat = Literal["delta", "hotpants", "sfft", "lsst", "lsst-images", "table", "grid", "image"]
LayoutName = Literal["lsst", "sci-err-dq", "flat"]
NoiseModelName = Literal["white", "measured", "local"]
CalibrateName = Literal["none", "global", "local"]

#: What is said of a resampling: its kind, and a file.
WARP = "KIND:NATIVE"
WARP_PATTERN = r"(bilinear|lanczos3|lanczos4|cubic|drizzle,(\d+\.?\d*|\.\d+)):.+"
WARP_FORM = f"{WARP}, with a KIND of bilinear, lanczos3, lanczos4, cubic or drizzle,PIXFRAC, and a FITS file"

# Left out of statistics, as in LSST's DecorrelateALKernelConfig.ignoreMaskPlanes.
BAD_PLANES = ("INTRP", "EDGE", "DETECTED", "SAT", "CR", "BAD", "NO_DATA", "DETECTED_NEGATIVE")
# Replaced by the background before filtering, so that they do not ring over their neighbours.
REPLACED_PLANES = ("NO_DATA", "SAT", "CR", "BAD")
# Planes of a result whose pixels tell nothing of the sky. Those that say that there is something (DETECTED) are not
# among them.
UNUSABLE_PLANES = ("NO_DATA", "SAT", "CR", "BAD", "EDGE", "DECORR_BAD", "DECORR_FILLED")
