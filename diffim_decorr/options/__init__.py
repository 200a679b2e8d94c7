"""Every option of runs and of applying their kernels, declared once. Imports no numpy: `decorr --help` needs this.

To add one, add a field to one of these classes: `declare` says what follows from it. What a simulation can be told is
in `simulate.options`.
"""

from diffim_decorr.options.inputs import InputOptions
from diffim_decorr.options.names import (
    BAD_PLANES,
    REPLACED_PLANES,
    SIDES,
    UNUSABLE_PLANES,
    WARP,
    CalibrateName,
    KernelFormat,
    LayoutName,
    NoiseModelName,
    Side,
)
from diffim_decorr.options.output import CommandOptions, OutputOptions
from diffim_decorr.options.results import ApplyOptions, KernelOptions, MeasureOptions, QaOptions, SnrOptions
from diffim_decorr.options.work import Options

__all__ = (
    "BAD_PLANES",
    "REPLACED_PLANES",
    "SIDES",
    "UNUSABLE_PLANES",
    "WARP",
    "ApplyOptions",
    "CalibrateName",
    "CommandOptions",
    "InputOptions",
    "KernelFormat",
    "KernelOptions",
    "LayoutName",
    "MeasureOptions",
    "NoiseModelName",
    "Options",
    "OutputOptions",
    "QaOptions",
    "Side",
    "SnrOptions",
)
