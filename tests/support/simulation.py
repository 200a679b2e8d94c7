"""A small simulation."""

from __future__ import annotations

from diffim_decorr.simulate.options import SimulationOptions

__all__ = ("SMALL",)

SMALL = SimulationOptions(size=(144, 160), seed=3, stars=40, saturation=5000.0, kernel_width=13)
