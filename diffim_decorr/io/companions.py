"""Which HDUs belong to an image: what surveys call masks and planes of noise, in one table."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from astropy.io import fits

from diffim_decorr.errors import InputError
from diffim_decorr.io.hdus import Extension, hdu_label, is_image, pick, select_hdu

__all__ = ("Owner", "Role", "accompanies", "asked_for", "is_exposure", "main_image", "own_companions", "role_of")

#: What a companion of an image tells: as the options are called that take one from a file of its own.
Role = Literal["mask", "variance", "noise", "weight"]

#: What HDUs are called, in capitals, by what they hold; what comes first is preferred.
#:
#: LSST: IMAGE, MASK, VARIANCE. JWST, HST: SCI, ERR, DQ, WHT. Gemini: SCI, VAR, DQ. DES: SCI, MSK, WGT. BANZAI (LCO):
#: SCI, BPM, ERR. CCDData: the primary HDU, MASK, UNCERT. SPHEREx: IMAGE, FLAGS, VARIANCE. TESS: the camera and CCD,
#: then CAL or UNCERT.
NAMES: Mapping[Role, tuple[str, ...]] = {
    "mask": ("MASK", "DQ", "MSK", "BPM", "FLAGS", "FLAG", "DQMASK", "BADPIX"),
    "variance": ("VARIANCE", "VAR", "VARIMG"),
    "noise": ("ERR", "UNCERT", "ERROR", "SIGMA", "NOISE", "RMS", "STD", "STDDEV", "UNCERTAINTY"),
    "weight": ("IVAR", "INVVAR", "WGT", "WEIGHT", "WHT"),
}
_ROLES: Mapping[str, Role] = {name: role for role, names in NAMES.items() for name in names}
# CCDData says of what kind its UNCERT is.
_UTYPES: Mapping[str, Role] = {
    "STD": "noise", "STDDEVUNCERTAINTY": "noise", "VAR": "variance", "VARIANCEUNCERTAINTY": "variance",
    "IVAR": "weight", "INVERSEVARIANCE": "weight",
}  # fmt: skip
# The weights of drizzled images are often times of exposure; to take them for noise is for the user to ask.
_ONLY_ON_DEMAND = ("WHT",)
_NOISES: tuple[Role, ...] = ("variance", "noise", "weight")
_IMAGES = ("IMAGE", "SCI")
# Other planes of known layouts, which are neither exposures nor of use here.
_OTHERS = {
    "AREA", "BACKGROUND", "BKG", "CON", "CTX", "D2IMARR", "EXP", "EXPMAP", "NEXP", "PSF", "PSI_BASIS", "QA", "SAMP",
    "SCORE", "SKY", "TIME", "VAR_FLAT", "VAR_POISSON", "VAR_RNOISE", "WCSDVARR", "ZODI",
}  # fmt: skip


@dataclass(frozen=True)
class Owner:
    """The HDU of an image that companions are looked for.

    Parameters
    ----------
    path, number, name, version
        Its file, number, EXTNAME and EXTVER.
    picked
        Whether the user named it.
    """

    path: str
    number: int
    name: str
    version: int
    picked: bool

    def is_in(self, path: str) -> bool:
        """Whether it is in this file."""
        return os.path.exists(path) and os.path.samefile(path, self.path)


def role_of(hdu: Any) -> Role | None:
    """What an HDU is by its name, if it is a companion of an image."""
    name = hdu.name.split(" ")[-1]
    said = _UTYPES.get(str(hdu.header.get("UTYPE", "")).strip().upper()) if _ROLES.get(name) in _NOISES else None
    return said or _ROLES.get(name)


def is_exposure(hdu: Any) -> bool:
    """Whether an HDU holds an image that is no companion of another by its name."""
    return is_image(hdu) and role_of(hdu) is None and hdu.name not in _OTHERS


def main_image(path: str, hdus: fits.HDUList) -> Any:
    """The image of a file of which the user has named no HDU.

    Raises
    ------
    InputError
        If there is no image.
    """
    images = [hdu for hdu in hdus if is_image(hdu)]
    if not images:
        raise InputError(f"{path}: no HDU holds a 2-D image")
    for name in _IMAGES:
        named = pick(images, "EXTNAME", name)
        if named is not None:
            return named
    # A primary HDU of a single pixel is as good as none.
    large = [hdu for hdu in images if hdu.shape[-2:] != (1, 1)] or images
    return next((hdu for hdu in large if is_exposure(hdu)), large[0])


def own_companions(hdus: fits.HDUList, image: Any) -> dict[Role, Any]:
    """The mask and one plane of noise that belong to an image in the same file, by their names and EXTVER."""
    if not is_exposure(image):
        return {}
    if image.name not in _IMAGES and sum(is_exposure(hdu) for hdu in hdus) > 1:
        return {}
    found = {role: _named(hdus, role, image) for role in NAMES}
    mask = found.pop("mask")
    noise = next(((role, hdu) for role, hdu in found.items() if hdu is not None), None)
    companions: dict[Role, Any] = {} if mask is None else {"mask": mask}
    return companions if noise is None else companions | dict([noise])


def _named(hdus: fits.HDUList, role: Role, image: Any) -> Any:
    candidates = [
        hdu
        for hdu in hdus
        # HST files have companions without pixels where there is nothing to say.
        if hdu.header["NAXIS"] > 0 and role_of(hdu) == role and hdu.ver == image.ver and hdu.name not in _ONLY_ON_DEMAND
    ]
    # TESS puts camera and CCD before the name.
    candidates = [hdu for hdu in candidates if " " not in hdu.name or _stem(hdu) == _stem(image)]
    return min(candidates, key=lambda hdu: _rank(hdu, role), default=None)


def _stem(hdu: Any) -> str:
    stem: str = hdu.name.rpartition(" ")[0]
    return stem


def _rank(hdu: Any, role: Role) -> int:
    name = hdu.name.split(" ")[-1]
    return NAMES[role].index(name) if name in NAMES[role] else len(NAMES[role])


def accompanies(hdus: fits.HDUList, image: Any, used: Iterable[Any]) -> list[Any]:
    """What a file holds besides an image and what is used with it, and might have been meant: exposures and planes."""
    taken = [image, *used]
    roles = {"mask" if role_of(hdu) == "mask" else "noise" for hdu in used}
    versions = {hdu.ver for hdu in hdus if is_exposure(hdu)} - {image.ver}
    left = []
    for hdu in hdus:
        role = role_of(hdu)
        # Companions of another exposure are left out with it, and other noise than the one that is used is no loss.
        same = hdu.ver == image.ver and ("mask" if role == "mask" else "noise") in roles
        known = role is not None and (same or hdu.ver in versions)
        alike = is_image(hdu) and (hdu.shape[-2:] == image.shape[-2:] or hdu.name == image.name)
        if alike and not known and hdu.name not in {*_OTHERS, *_ONLY_ON_DEMAND} and all(hdu is not t for t in taken):
            left.append(hdu)
    return left


def asked_for(path: str, hdus: fits.HDUList, extension: Extension, role: Role, owner: Owner) -> Any:
    """The HDU that is meant by a file which was given for an image's mask or noise.

    Parameters
    ----------
    path, hdus
        The file.
    extension
        What the user named; None if nothing.
    role
        What it was given for.
    owner
        The image.

    Returns
    -------
    hdu
        The one that the user names; or that of a usual name, and the image's EXTVER if there is one; or, if the user
        picked the image, that of its name or number; or the only image that it can be.

    Raises
    ------
    InputError
        If there is no such HDU, if it can be any of several, or if it is the image itself.
    """
    own = hdus[owner.number] if owner.is_in(path) else None
    if extension is not None:
        hdu = select_hdu(path, hdus, extension)
        if hdu is own:
            raise InputError(f"{hdu_label(path, hdus, hdu)}: is the image itself, not its {role}")
        return hdu
    images = [hdu for hdu in hdus if is_image(hdu) and hdu is not own]
    usual = sorted((hdu for hdu in images if role_of(hdu) == role), key=lambda hdu: _rank(hdu, role))
    versions = [hdu for hdu in usual if hdu.ver == owner.version] or usual
    if versions:
        return versions[0]
    if owner.picked and len(images) > 1:
        unnamed = owner.name in ("", "PRIMARY")
        same = [
            hdu
            for k, hdu in enumerate(hdus)
            if (k == owner.number if unnamed else (hdu.name, hdu.ver) == (owner.name, owner.version))
        ]
        if same and any(hdu is same[0] for hdu in images):
            return same[0]
    # A file for one plane alone may call it as it likes; of what is something else by its name nothing is guessed.
    possible = images if len(images) == 1 and own is None else [hdu for hdu in images if is_exposure(hdu)]
    if len(possible) == 1:
        return possible[0]
    raise InputError(_none_or_several(path, hdus, role, owner, own))


def _none_or_several(path: str, hdus: fits.HDUList, role: Role, owner: Owner, own: Any) -> str:
    """Why no HDU of a file is taken for a plane of an image, and what to do."""
    images = [(k, hdu) for k, hdu in enumerate(hdus) if is_image(hdu)]
    if not images:
        return f"{path}: no HDU holds a 2-D image"
    if own is not None and len(images) == 1:
        return f"{path}: is the image itself, and no other HDU of it could be its {role}"
    listed = ", ".join(f"[{k}]{f' {hdu.name}' if hdu.name else ''}" for k, hdu in images)
    if owner.picked and own is None:
        named = owner.name not in ("", "PRIMARY")
        why = f"is [{f'{owner.name},{owner.version}' if named else owner.number}], as the image it belongs to"
    else:
        beside = "" if own is None else f", besides {hdu_label(path, hdus, own)} itself,"
        why = f"{beside} is known to be the {role}, by a name such as {' or '.join(NAMES[role][:2])}".lstrip()
    return f"{path}: none of its {len(images)} images {why}: {listed} ({path}[HDU] names one)".replace(" ,", ",")
