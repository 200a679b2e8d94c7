"""What a file holds, as everything here reads it: image, planes, kernel, PSF, and what would be used of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from astropy.io import fits

from diffim_decorr.difference.matching import MatchingKernel
from diffim_decorr.difference.programs import falls_off_like_a_psf
from diffim_decorr.errors import InputError
from diffim_decorr.findings import findings_of
from diffim_decorr.geometry import Box
from diffim_decorr.images.exposure import Exposure
from diffim_decorr.images.masks import unsigned
from diffim_decorr.images.wcs import to_sky
from diffim_decorr.io.companions import role_of
from diffim_decorr.io.exposures import Layout, layout_in, load_exposure
from diffim_decorr.io.extensions import exposures_in
from diffim_decorr.io.hdus import column_names, is_image, is_numpy_archive, open_fits, shape_of, split_spec
from diffim_decorr.io.kernels.registry import holds_kernel, load_kernel
from diffim_decorr.io.kernels.source import NoKernelError
from diffim_decorr.io.psfs import holds_psf, read_psf
from diffim_decorr.io.psi import holds_psi, read_psi
from diffim_decorr.io.tables import read_table
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.options import BAD_PLANES, REPLACED_PLANES
from diffim_decorr.qa.kernel_figures import field_of
from diffim_decorr.qa.kernel_figures import shape_of as core_of

__all__ = ("contents_of",)

# Images without a WCS that fall off from their middle are kernels or PSFs: of anything up to the one size, and of what
# is nowhere negative up to the other. An image's border is compared to its peak.
_SMALL, _LARGEST, _EDGE = 64, 301, 0.2
_TABLES = (".ecsv", ".csv", ".vot", ".xml")
_ROWS = 256  # of a mask that are looked at together


def contents_of(spec: str | os.PathLike[str]) -> dict[str, Any]:
    """What a file holds.

    Parameters
    ----------
    spec
        A file of any kind that is read here, or ``name.fits[EXT]``.

    Returns
    -------
    contents
        ``file``; ``kind``: exposure, mosaic, result, plane, kernel, psf, table, or nothing; ``hdus``; and by what there
        is ``exposure``, ``exposures``, ``kernel``, ``psf``, ``psi``, ``verdict``; ``use``: what would be used of it,
        and for which argument or option; ``remarks``: what its user should know.

    Raises
    ------
    InputError
        If it cannot be read at all.
    """
    text = os.fspath(spec)
    path, extension = split_spec(text)
    remarks: list[str] = []
    found: dict[str, Any] = {"file": text, "kind": "nothing", "bytes": _size(path)}
    if path.lower().endswith(_TABLES):
        return found | {"kind": "table", **_table(path), "remarks": []}
    found["hdus"] = _hdus(path)
    layout, exposure = _exposure(text, remarks)
    if not is_numpy_archive(path) and holds_psi(path) and (exposure is not None or extension is None):
        found |= {"kind": "result", **_result(path)}
    elif exposure is None or (layout is not None and not layout.companions and _is_kernel_or_psf(exposure)):
        found |= _kernel_or_psf(text, found["hdus"], remarks)
        exposure = None
    elif _is_plane(layout, found["hdus"]):
        found |= {"kind": "plane"}
    if exposure is not None and layout is not None:
        alone = extension is not None or found["kind"] == "plane" or layout.single
        places = [] if alone else [*exposures_in(path)]
        if found["kind"] == "nothing":
            found["kind"] = "mosaic" if len(places) > 1 else "exposure"
        found["exposure"] = _described(exposure, layout)
        if len(places) > 1:
            found["exposures"] = places
        if found["kind"] != "result" and holds_kernel(text):
            found |= _kernel_inside(text, exposure, remarks)
    found["use"] = [*_uses(found)]
    found["remarks"] = list(dict.fromkeys(remarks))
    return found


def _table(path: str) -> dict[str, Any]:
    """What a table that is no FITS file tells."""
    table = read_table(path)
    return {"rows": len(table), "columns": list(table.colnames), "use": [*_uses({"kind": "table"})]}


def _kernel_inside(spec: str, exposure: Exposure, remarks: list[str]) -> dict[str, Any]:
    """The kernel in the file of a difference, if it is one."""
    try:
        return {"kernel": _kernel(load_kernel(spec, exposure.shape, exposure.header), remarks)}
    except NoKernelError:
        return {}
    except InputError as error:
        remarks.append(str(error))
        return {}


def _is_plane(layout: Layout | None, hdus: list[dict[str, Any]]) -> bool:
    """Whether the image that would be taken is a mask or a plane of noise by its name."""
    return (
        layout is not None
        and any(hdu["role"] for hdu in hdus)
        and not any(hdu["holds"] == "image" and not hdu["role"] for hdu in hdus)
    )


def _size(path: str) -> int | None:
    return os.path.getsize(path) if os.path.isfile(path) else None


def _hdus(path: str) -> list[dict[str, Any]]:
    if is_numpy_archive(path):
        return []
    with open_fits(path) as hdus:
        return [
            {
                "number": k,
                "name": str(hdu.name) if hdu.name != "PRIMARY" or k else "",
                "version": int(hdu.ver),
                "holds": _holds(hdu),
                "role": role_of(hdu) if is_image(hdu) else None,
                "shape": list(shape_of(hdu)),
            }
            for k, hdu in enumerate(hdus)
        ]


def _holds(hdu: Any) -> str:
    if isinstance(hdu, fits.BinTableHDU | fits.TableHDU) and not isinstance(hdu, fits.CompImageHDU):
        return f"table of {hdu.header.get('NAXIS2', 0)} rows: {', '.join(column_names(hdu)[:6])}"
    return "image" if is_image(hdu) else "array" if shape_of(hdu) else "nothing"


def _exposure(spec: str, remarks: list[str]) -> tuple[Layout | None, Exposure | None]:
    if is_numpy_archive(split_spec(spec)[0]):
        return None, None
    try:
        layout = layout_in(spec)
    except InputError:  # there is no image, which other files do without
        return None, None
    try:
        exposure = load_exposure(spec)
    except InputError as error:
        remarks.append(str(error))
        return layout, None
    remarks.extend(exposure.remarks)
    if exposure.psf_fault:
        remarks.append(f"its PSF cannot be used: {exposure.psf_fault}")
    return layout, exposure


def _is_kernel_or_psf(exposure: Exposure) -> bool:
    """Whether an image by itself is a kernel or a PSF, and no exposure; solutions of SFFT are of a single row."""
    if min(exposure.shape) == 1:
        return True
    if max(exposure.shape) > _LARGEST or "CTYPE1" in (exposure.header or {}):
        return False
    pixels = np.abs(exposure.image)
    if not np.isfinite(pixels).all():
        return False
    border = max(pixels[0].max(), pixels[-1].max(), pixels[:, 0].max(), pixels[:, -1].max())
    small = max(exposure.shape) < _SMALL and bool(border < _EDGE * pixels.max())
    return small or falls_off_like_a_psf(exposure.image)


def _result(path: str) -> dict[str, Any]:
    """What a run has stored in its output."""
    psi = read_psi(path)
    findings = findings_of(path)
    return {
        "psi": {
            "half_width": psi.kernel.shape[0] // 2,
            "modes": len(psi.kernel.basis),
            "varies": not psi.kernel.is_constant,
            "field": list(psi.shape),
        },
        "verdict": None if findings is None else {"status": findings.status, "reasons": list(findings.reasons)},
    }


def _kernel_or_psf(spec: str, hdus: list[dict[str, Any]], remarks: list[str]) -> dict[str, Any]:
    """What a file without an exposure holds: a PSF by its name or form, a kernel, or a small image that may be both."""
    if hdus and holds_psf(spec):
        return {"kind": "psf", "psf": _psf(read_psf(spec))}
    try:
        matching = load_kernel(spec)
    except InputError as error:
        if _has_positions(spec):
            return {"kind": "table"}
        remarks.append(str(error))
        return {}
    kernel = _kernel(matching, remarks)
    called = any("KERN" in hdu["name"] for hdu in hdus)
    if called or matching.format != "image" or not falls_off_like_a_psf(matching.kernel.at(0, 0)):
        return {"kind": "kernel", "kernel": kernel}
    remarks.append(
        f"{spec}: looks like a PSF, being nowhere negative and falling off from its middle; it may be a kernel"
    )
    return {"kind": "psf", "psf": _psf(read_psf(spec)), "kernel": kernel}


def _has_positions(spec: str) -> bool:
    with open_fits(split_spec(spec)[0]) as hdus:
        tables = [hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)]
        names = [{name.lower() for name in column_names(table)} for table in tables]
        return any({"x", "y"} <= found or {"ra", "dec"} <= found for found in names)


def _kernel(matching: MatchingKernel, remarks: list[str]) -> dict[str, Any]:
    remarks.extend(matching.remarks)
    height, width = matching.kernel.shape
    field = field_of(matching)
    return {
        "format": matching.format,
        "width": width,
        "height": height,
        "basis_images": len(matching.kernel.basis),
        "over_the_field": matching.kernel.described,
        "regions": len(matching.kernel.boxes),
        "field": None if field is None else [field.x0, field.y0, field.x1, field.y1],
        "convolved": sorted({side for side in matching.convolved if side is not None}),
    }


def _psf(psf: Any) -> dict[str, Any]:
    varies = isinstance(psf, SpatialKernel)
    image = np.asarray(psf.at(*_middle(psf.field)) if varies else psf)
    core = core_of(image)
    return {
        "width": image.shape[1],
        "height": image.shape[0],
        "varies": varies,
        "fwhm": None if core is None else round(core.fwhm, 4),
    }


def _middle(field: Box | None) -> tuple[float, float]:
    return (0.0, 0.0) if field is None else ((field.x0 + field.x1 - 1) / 2, (field.y0 + field.y1 - 1) / 2)


def _described(exposure: Exposure, layout: Layout) -> dict[str, Any]:
    ny, nx = exposure.shape
    noise = next(((role, name) for role, name in layout.companions.items() if role != "mask"), None)
    unit = str((exposure.header or {}).get("BUNIT", "")).strip()
    return {
        "layout": layout.name,
        "image": layout.image,
        "shape": [ny, nx],
        "unit": unit or None,
        "noise": None if noise is None else {"plane": noise[1], "as": noise[0]},
        "mask": layout.companions.get("mask"),
        "planes": _planes(exposure),
        "psf": None if exposure.psf is None else _psf(exposure.psf),
        "sky": _sky(exposure),
        "xy0": list(exposure.xy0),
        "others": list(layout.others),
    }


def _planes(exposure: Exposure) -> list[dict[str, Any]]:
    """The mask's planes: how many pixels each has, and what is done with them."""
    mask = exposure.mask_plane
    if mask is None:
        return []
    ny, nx = mask.shape
    counts = dict.fromkeys(exposure.mask_planes, 0)
    for y in range(0, ny, _ROWS):
        bits = unsigned(mask.read(Box(0, y, nx, min(ny, y + _ROWS))))
        for name, bit in exposure.mask_planes.items():
            counts[name] += int(np.count_nonzero((bits >> bits.dtype.type(bit)) & bits.dtype.type(1)))
    return [
        {
            "name": name,
            "bit": bit,
            "pixels": counts[name],
            "bad": name in BAD_PLANES,
            "replaced": name in REPLACED_PLANES,
        }
        for name, bit in sorted(exposure.mask_planes.items(), key=lambda item: item[1])
    ]


def _sky(exposure: Exposure) -> dict[str, Any] | None:
    """Where the middle of the image is on the sky, and how large a pixel is there."""
    ny, nx = exposure.shape
    x, y = (nx - 1) / 2, (ny - 1) / 2
    sky = to_sky(exposure.header, np.array([x, x + 1, x]), np.array([y, y, y + 1]))
    if sky is None or not np.isfinite(sky).all():
        return None
    ra, dec = sky
    dx, dy = (ra - ra[0] + 180) % 360 - 180, dec - dec[0]
    steps = np.hypot(dx * np.cos(np.deg2rad(dec[0])), dy)[1:]
    return {"ra": float(ra[0]), "dec": float(dec[0]), "pixel_arcsec": round(float(3600 * np.sqrt(steps.prod())), 6)}


def _uses(found: dict[str, Any]) -> Iterator[dict[str, str]]:
    """What would be used, by the arguments and options that the file may be given for."""
    exposure, kernel, kind = found.get("exposure"), found.get("kernel"), found["kind"]
    if kind == "plane":
        yield {"for": "--sci-…, --tmpl-…", "used": f"{exposure['image']}, as the option says" if exposure else ""}
    elif exposure is not None:
        noise = exposure["noise"]
        planes = [exposure["image"]]
        planes += [f"{noise['as']} {noise['plane']}" if noise else "a variance that is measured"]
        planes += [f"mask {exposure['mask']}" if exposure["mask"] else "no mask"]
        planes += [] if exposure["psf"] is None else ["its PSF"]
        yield {"for": "snr, measure, qa" if kind == "result" else "SCI, TMPL, DIFF", "used": ", ".join(planes)}
        if kind == "result":
            yield {"for": "apply, kernel", "used": "the decorrelation kernel"}
        elif kernel is not None:
            yield {"for": "DIFF without -k", "used": "the kernel inside"}
        if "exposures" in found:
            yield {"for": "--all-ext", "used": f"all {len(found['exposures'])} exposures"}
    elif kernel is not None:
        yield {"for": "--kernel", "used": f"a kernel of format {kernel['format']}"}
    if kind == "psf":
        yield {"for": "--psf", "used": "the PSF"}
    if kind == "table":
        yield {"for": "measure", "used": "positions"}
