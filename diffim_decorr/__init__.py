"""Undo the noise correlation that image differencing leaves behind."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from diffim_decorr._version import __version__

if TYPE_CHECKING:
    from diffim_decorr.apply import apply_psi, apply_psi_at
    from diffim_decorr.assessment import Assessment, assess
    from diffim_decorr.detect.forced import measure
    from diffim_decorr.detect.maps import SnrMaps, snr_maps
    from diffim_decorr.difference.contributions import Contribution
    from diffim_decorr.difference.matching import MatchingKernel
    from diffim_decorr.errors import DecorrWarning, InputError, UsageError
    from diffim_decorr.geometry import Box
    from diffim_decorr.images.exposure import Exposure
    from diffim_decorr.images.warps import Warp
    from diffim_decorr.io.exposures import read_exposure
    from diffim_decorr.io.kernels.grid import write_grid_kernel
    from diffim_decorr.io.kernels.registry import read_kernel
    from diffim_decorr.io.kernels.table import write_kernel_table
    from diffim_decorr.io.psfs import read_psf
    from diffim_decorr.io.psi import read_psi
    from diffim_decorr.io.warps import read_warp
    from diffim_decorr.kernels.spatial import SpatialKernel
    from diffim_decorr.options import Options
    from diffim_decorr.psi.stored import DecorrelationKernel
    from diffim_decorr.qa.figures import QualityFigures
    from diffim_decorr.record import Record
    from diffim_decorr.result import Result
    from diffim_decorr.run import decorrelate

# Imported when first used: `decorr --version` must not wait for numpy and astropy.
_HOMES = {
    "Assessment": "assessment",
    "Box": "geometry",
    "Contribution": "difference.contributions",
    "DecorrWarning": "errors",
    "DecorrelationKernel": "psi.stored",
    "Exposure": "images.exposure",
    "InputError": "errors",
    "MatchingKernel": "difference.matching",
    "Options": "options",
    "QualityFigures": "qa.figures",
    "Record": "record",
    "Result": "result",
    "SnrMaps": "detect.maps",
    "SpatialKernel": "kernels.spatial",
    "UsageError": "errors",
    "Warp": "images.warps",
    "apply_psi": "apply",
    "apply_psi_at": "apply",
    "assess": "assessment",
    "decorrelate": "run",
    "measure": "detect.forced",
    "read_exposure": "io.exposures",
    "read_kernel": "io.kernels.registry",
    "read_psf": "io.psfs",
    "read_psi": "io.psi",
    "read_warp": "io.warps",
    "snr_maps": "detect.maps",
    "write_grid_kernel": "io.kernels.grid",
    "write_kernel_table": "io.kernels.table",
}

__all__ = (
    "Assessment",
    "Box",
    "Contribution",
    "DecorrWarning",
    "DecorrelationKernel",
    "Exposure",
    "InputError",
    "MatchingKernel",
    "Options",
    "QualityFigures",
    "Record",
    "Result",
    "SnrMaps",
    "SpatialKernel",
    "UsageError",
    "Warp",
    "__version__",
    "apply_psi",
    "apply_psi_at",
    "assess",
    "decorrelate",
    "measure",
    "read_exposure",
    "read_kernel",
    "read_psf",
    "read_psi",
    "read_warp",
    "snr_maps",
    "write_grid_kernel",
    "write_kernel_table",
)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
