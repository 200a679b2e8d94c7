"""A simulation as the files that a survey would have: two exposures, HOTPANTS' output, PSFs, and the truth."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from diffim_decorr.errors import UsageError
from diffim_decorr.simulate.scene import MASK_PLANES, HotpantsKernel, Simulation, Truth

__all__ = ("FILES", "MASKVAL", "check_output", "write_simulation")

Array = NDArray[Any]

#: What is written, by what it is.
FILES = {
    "science": "sci.fits",
    "template": "tmpl.fits",
    "difference": "diff.fits",
    "kernel": "kernel.fits",
    "science_psf": "sci_psf.fits",
    "template_psf": "tmpl_psf.fits",
    "truth": "truth.fits",
}
#: What HOTPANTS writes for a missing pixel.
MASKVAL = 1e-30
_GRID_NODES = 17
_DEGREES_PER_PIXEL = 0.2 / 3600
_ORIGIN = (150.0, 2.2)


def check_output(outdir: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Raise `UsageError` where `write_simulation` would refuse to write."""
    directory = Path(outdir)
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory}: is not a directory")
    existing = [name for name in FILES.values() if os.path.lexists(directory / name)]
    if existing and not overwrite:
        raise UsageError(f"{directory / existing[0]}: exists already; use --overwrite to replace it")


def write_simulation(
    simulation: Simulation,
    outdir: str | os.PathLike[str],
    kernel_format: Literal["hotpants", "grid"] | None = None,
    overwrite: bool = False,
) -> dict[str, Path]:
    """Write the files of a simulation, all of them or none.

    Parameters
    ----------
    simulation
        What to write.
    outdir
        A directory; made if there is none.
    kernel_format
        "hotpants": the difference is like the output of HOTPANTS run with ``-hki``, its missing pixels are 1e-30, and
        the kernel file is like that of ``-oki``. "grid": missing pixels are NaN, and the kernel file holds the kernel
        at 17 x 17 positions (at one, if it is constant); between them, bilinear interpolation follows a kernel of
        order 2 or more only to within about 0.4 % of its variation. By default what the options say.
    overwrite
        Whether files that exist may be replaced.

    Returns
    -------
    paths
        The files by what they are, as in `FILES`.
    """
    check_output(outdir, overwrite)
    directory = Path(outdir)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".simulate-", dir=directory) as name:
            draft = Path(name)
            _write_all(simulation, draft, kernel_format or simulation.options.kernel_format)
            for file in FILES.values():
                os.replace(draft / file, directory / file)
    except OSError as error:
        raise UsageError(f"{directory}: cannot be written ({error.strerror or error})") from error
    return {key: directory / file for key, file in FILES.items()}


def _write_all(simulation: Simulation, directory: Path, kernel_format: str) -> None:
    s = simulation
    wcs = _wcs(s.options.shape)
    layers = {
        "science": (_exposure(s.science, s.science_mask, s.science_variance, wcs, "science", 60100.0), s.options),
        "template": (_exposure(s.template, s.template_mask, s.template_variance, wcs, "template", 60000.0), s.options),
        "science_psf": (_psf(s.science_psf, "science"), None),
        "template_psf": (_psf(s.template_psf, "template"), None),
        "truth": (_truth(s.truth), s.options),
    }
    if kernel_format == "hotpants":
        image = np.where(np.isfinite(s.difference), s.difference, np.float32(MASKVAL))
        cards = _hotpants_cards(s)
        difference = _difference(image, wcs)
        difference.header.update(cards)
        alone = fits.PrimaryHDU()
        alone.header.update(cards)
        layers["difference"] = (fits.HDUList([difference, _hotpants_table(s.hotpants)]), s.options)
        layers["kernel"] = (fits.HDUList([alone, _hotpants_table(s.hotpants)]), None)
    else:
        layers["difference"] = (fits.HDUList([_difference(s.difference, wcs)]), s.options)
        _write_grid(s, directory / FILES["kernel"])
    for key, (hdus, options) in layers.items():
        if options is not None:
            hdus[0].header.add_history("Simulated by decorr simulate with these options:")
            for name, value in dataclasses.asdict(options).items():
                hdus[0].header.add_history(f"{name} = {value}")
        hdus.writeto(directory / FILES[key], checksum=True)


def _wcs(shape: tuple[int, int]) -> fits.Header:
    """A tangential projection, north up, 0.2 arcseconds a pixel."""
    ny, nx = shape
    return fits.Header(
        [
            ("CTYPE1", "RA---TAN"),
            ("CTYPE2", "DEC--TAN"),
            ("CRPIX1", (nx + 1) / 2, "[pix] reference pixel"),
            ("CRPIX2", (ny + 1) / 2, "[pix] reference pixel"),
            ("CRVAL1", _ORIGIN[0], "[deg] right ascension there"),
            ("CRVAL2", _ORIGIN[1], "[deg] declination there"),
            ("CUNIT1", "deg"),
            ("CUNIT2", "deg"),
            ("CD1_1", -_DEGREES_PER_PIXEL),
            ("CD1_2", 0.0),
            ("CD2_1", 0.0),
            ("CD2_2", _DEGREES_PER_PIXEL),
            ("RADESYS", "ICRS"),
        ]
    )


def _exposure(image: Array, mask: Array, variance: Array, wcs: fits.Header, name: str, date: float) -> fits.HDUList:
    primary = fits.PrimaryHDU()
    primary.header["OBJECT"] = (f"simulated {name}", "what this is")
    primary.header["EXPTIME"] = (30.0, "[s] exposure time")
    primary.header["MJD-OBS"] = (date, "[d] start of the exposure")
    planes = [fits.ImageHDU(data, wcs, name=key) for key, data in (("IMAGE", image), ("MASK", mask))]
    planes.append(fits.ImageHDU(variance, wcs, name="VARIANCE"))
    planes[0].header["BUNIT"] = "adu"
    planes[2].header["BUNIT"] = "adu**2"
    for plane, bit in MASK_PLANES.items():
        planes[1].header[f"MP_{plane}" if len(plane) <= 5 else f"HIERARCH MP_{plane}"] = bit
    return fits.HDUList([primary, *planes])


def _difference(image: Array, wcs: fits.Header) -> fits.PrimaryHDU:
    hdu = fits.PrimaryHDU(image, wcs)
    hdu.header["OBJECT"] = ("simulated difference", "what this is")
    hdu.header["BUNIT"] = "adu"
    hdu.header["EXPTIME"] = (30.0, "[s] exposure time")
    hdu.header["MJD-OBS"] = (60100.0, "[d] start of the exposure")
    return hdu


def _psf(image: Array, name: str) -> fits.HDUList:
    hdu = fits.PrimaryHDU(image.astype(np.float32))
    hdu.header["OBJECT"] = (f"PSF of the simulated {name}", "at the field centre")
    return fits.HDUList([hdu])


def _truth(truth: Truth) -> fits.HDUList:
    units = {"x": "pix", "y": "pix", "variable": None, "transient": None}
    columns = [
        fits.Column(
            field.name.upper(),
            "L" if field.name in ("variable", "transient") else "D",
            units.get(field.name, "adu"),
            array=getattr(truth, field.name),
        )
        for field in dataclasses.fields(truth)
    ]
    table = fits.BinTableHDU.from_columns(columns, name="TRUTH")
    table.header.add_comment("X and Y are 0-based: the centre of the first pixel is at 0.")
    return fits.HDUList([fits.PrimaryHDU(), table])


def _hotpants_cards(simulation: Simulation) -> fits.Header:
    o, kernel = simulation.options, simulation.hotpants
    ny, nx = o.shape
    science = o.convolved == "science"
    gaussians = " ".join(f"{d} {s:g}" for d, s in zip(kernel.degrees, kernel.sigmas, strict=True))
    command = (
        f"hotpants -inim sci.fits -tmplim tmpl.fits -outim diff.fits -c {'i' if science else 't'} -n i "
        f"-r {kernel.width // 2} -ko {kernel.order} -bgo 0 -ng {len(kernel.sigmas)} {gaussians} -hki"
    )
    return fits.Header(
        [
            ("SOFTNAME", "decorr simulate", "not HOTPANTS, but in its form"),
            ("NREGION", 1, "Number of independent regions"),
            ("REGION00", f"[1:{nx},1:{ny}]"),
            ("CONVOL00", "IMAGE" if science else "TEMPLATE"),
            ("KSUM00", f"{o.kernel_sum:.4f}", "Kernel Sum"),
            ("LONGSTRN", "OGIP 1.0", "DIFFCMD may be continued"),
            ("DIFFCMD", command),
            # With "i" HOTPANTS divides by the kernel sum if and only if the science image was convolved.
            ("PHOTNORM", "i", "Direction of photometric normalization"),
            ("MASKVAL", MASKVAL, "Value of Masked Pixels"),
            ("KERINFO", True),
        ]
    )


def _hotpants_table(kernel: HotpantsKernel) -> fits.BinTableHDU:
    name = "Convolution Kernel Information"
    table = fits.BinTableHDU.from_columns([fits.Column("Region0", "D", array=kernel.vector)], name=name)
    # The constructor would make capitals of it, but HOTPANTS does not.
    table.header["EXTNAME"] = name
    table.header["OBJECT"] = name
    table.header["NGAUSS"] = (len(kernel.sigmas), "Number of Gaussian Basis Functions")
    for k, (sigma, degree) in enumerate(zip(kernel.sigmas, kernel.degrees, strict=True), 1):
        table.header[f"DGAUSS{k}"] = (degree, "Polynomial Degree")
        table.header[f"SGAUSS{k}"] = (sigma, "[pix] Gaussian Sigma")
    table.header["FWKERN"] = (kernel.width, "Kernel Width in Pixels")
    table.header["CKORDER"] = (kernel.order, "Spatial Convolution Order")
    table.header["BGORDER"] = (0, "Background Order")
    table.header["KERINFO"] = False
    return table


def _write_grid(simulation: Simulation, path: Path) -> None:
    from diffim_decorr.io.kernels.grid import write_grid_kernel

    ny, nx = simulation.options.shape
    if simulation.kernel.is_constant:
        x, y = np.array([(nx - 1) / 2]), np.array([(ny - 1) / 2])
    else:
        x, y = np.meshgrid(np.linspace(0, nx - 1, _GRID_NODES), np.linspace(0, ny - 1, _GRID_NODES))
        x, y = x.ravel(), y.ravel()
    write_grid_kernel(path, simulation.kernel.sample(x, y), x, y)
