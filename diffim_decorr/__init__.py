"""Undo the noise correlation that image differencing leaves behind."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from diffim_decorr._version import __version__

if TYPE_CHECKING:
    from diffim_decorr.companions import DecorrelationKernel, apply_psi, apply_psi_at
    from diffim_decorr.contributions import Contribution
    from diffim_decorr.errors import DecorrWarning, InputError
    from diffim_decorr.exposure import Exposure
    from diffim_decorr.io.exposures import read_exposure
    from diffim_decorr.io.kernels import read_kernel, write_grid_kernel, write_kernel_table
    from diffim_decorr.io.psfs import read_psf
    from diffim_decorr.io.psi import read_psi
    from diffim_decorr.matching import MatchingKernel
    from diffim_decorr.options import Options
    from diffim_decorr.pipeline import Result, decorrelate
    from diffim_decorr.spatial import SpatialKernel

# Imported when first used: `decorr --version` must not wait for numpy and astropy.
_HOMES = {
    "Contribution": "contributions",
    "DecorrWarning": "errors",
    "DecorrelationKernel": "companions",
    "Exposure": "exposure",
    "InputError": "errors",
    "MatchingKernel": "matching",
    "Options": "options",
    "Result": "pipeline",
    "SpatialKernel": "spatial",
    "apply_psi": "companions",
    "apply_psi_at": "companions",
    "decorrelate": "pipeline",
    "read_exposure": "io.exposures",
    "read_kernel": "io.kernels",
    "read_psf": "io.psfs",
    "read_psi": "io.psi",
    "write_grid_kernel": "io.kernels",
    "write_kernel_table": "io.kernels",
}

__all__ = (
    "Contribution",
    "DecorrWarning",
    "DecorrelationKernel",
    "Exposure",
    "InputError",
    "MatchingKernel",
    "Options",
    "Result",
    "SpatialKernel",
    "__version__",
    "apply_psi",
    "apply_psi_at",
    "decorrelate",
    "read_exposure",
    "read_kernel",
    "read_psf",
    "read_psi",
    "write_grid_kernel",
    "write_kernel_table",
)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
