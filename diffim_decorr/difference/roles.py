"""Whether inputs can be what they were given for, by their pixels, places on the sky, units and names of files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from diffim_decorr.errors import InputError
from diffim_decorr.geometry import Box
from diffim_decorr.images.exposure import Exposure
from diffim_decorr.images.sample import same_pixels
from diffim_decorr.images.wcs import separation
from diffim_decorr.kernels.spatial import SpatialKernel

__all__ = ("check_images", "check_realisations", "doubts")

# Programs that subtract note which files they took: HOTPANTS, SFFT, and what pipelines call these.
_OWN_NAMES = {"TARGET": "science", "TEMPLATE": "template", "NAME_SCI": "science", "NAME_REF": "template"}
_NAMES = _OWN_NAMES | {
    **dict.fromkeys(("SCIIM", "SCIIMG", "SCIFILE", "SCI_IMG", "SCI_FILE", "NEWIM", "NEWIMG", "NEWFILE"), "science"),
    **dict.fromkeys(("TMPLIM", "TMPLIMG", "TMPLFILE", "REFIM", "REFIMG", "REFFILE", "REF_IMG", "REF_FILE"), "template"),
}
_ENDING = re.compile(r"\.(fits?|fts)(\.(gz|fz|bz2|Z))?$", flags=re.IGNORECASE)

_APART = 1.0  # pixels: images that are aligned agree to a fraction of one
_AS_ONE = 0.2  # the sum of a kernel that converts no unit differs from 1 by no more
_ROWS = 256


def check_images(images: Mapping[str, Exposure]) -> None:
    """Refuse images (science, template, difference) without data, one that is another, and a constant difference.

    Raises
    ------
    InputError
        Naming the image.
    """
    for one, other in (("difference", "science"), ("difference", "template"), ("template", "science")):
        if same_pixels(images[one].image_plane, images[other].image_plane):
            raise InputError(
                f"{images[one].name}: the {one} has the same pixels as the {other} image {images[other].name}: give "
                "three images, SCI TMPL DIFF in this order"
            )
    for role, image in images.items():
        values = _distinct(image)
        if not values:
            raise InputError(f"{image.name}: not one pixel of the {role} holds data")
        if len(values) == 1 and role == "difference":
            raise InputError(
                f"{image.name}: all pixels of the difference have the value {values.pop():g}: there is no noise in it; "
                "give the image that the subtraction has written"
            )


def check_realisations(images: Mapping[str, Exposure], realisations: Sequence[Exposure]) -> None:
    """Refuse images of noise that are one of the images, or the same twice.

    Raises
    ------
    InputError
        Naming both.
    """
    others = [
        (image, f"the {role} image {image.name}" if role != "difference" else f"the {role} {image.name}")
        for role, image in images.items()
    ]
    for number, image in enumerate(realisations):
        for other, what in (*others, *((earlier, earlier.name) for earlier in realisations[:number])):
            if same_pixels(image.image_plane, other.image_plane):
                raise InputError(
                    f"{image.name}: has the same pixels as {what}: a noise image is a realisation of pure noise that "
                    "went through the same resampling as the image"
                )


def _distinct(image: Exposure) -> set[float]:
    """One or two values of pixels with data, if there are so many."""
    ny, nx = image.shape
    found: set[float] = set()
    y, end = 0, 1
    while y < ny and len(found) < 2:
        pixels = image.image_plane.read(Box(0, y, nx, end)).astype(np.float32)
        y, end = end, min(ny, end + _ROWS)
        missing = image.absent(pixels)
        values = (pixels if missing is None else pixels[~missing]).ravel()
        if values.size:
            found |= {float(values.min()), float(values.max())}
    return found


def doubts(images: Mapping[str, Exposure], sides: tuple[SpatialKernel, SpatialKernel]) -> Iterator[str]:
    """What speaks against the roles that images were given, in their headers.

    Parameters
    ----------
    images
        Science, template and difference, by these words.
    sides
        What the science image and the template were convolved with.
    """
    yield from _swapped(images)
    yield from _apart(images)
    yield from _units(images, sides)


def _swapped(images: Mapping[str, Exposure]) -> Iterator[str]:
    """Cards of an image that name another one in a role which that was not given."""
    files = {role: _stem(image.name) for role, image in images.items() if _ENDING.search(_path(image.name))}
    for role, image in images.items():
        for keyword, meant in (_NAMES if role == "difference" else _OWN_NAMES).items():
            named = _stem(_text(image, keyword))
            given = [other for other, stem in files.items() if named and stem == named]
            # Files of one name may be in several folders.
            if not given or meant in given or role in given:
                continue
            what = f"by its card {keyword} the {meant} is {named}, which was given as the {given[0]}"
            if role != "difference":
                what = f"is itself made of {named} by its card {keyword}, but was given as the {role}"
            yield f"{image.name}: {what}: are files swapped? The order is SCI TMPL DIFF"
            break


def _text(image: Exposure, keyword: str) -> str:
    value: Any = "" if image.header is None else image.header.get(keyword, "")
    return value if isinstance(value, str) else ""


def _path(name: str) -> str:
    """The name of a file without an HDU, in either of the two ways to write one."""
    return re.sub(r"(\[[^\[\]]*\]|\+\d+)+$", "", name.strip())


def _stem(name: str) -> str:
    """What is left of a file's name without folder, HDU and ending."""
    return _ENDING.sub("", os.path.basename(_path(name).replace("\\", "/")))


def _apart(images: Mapping[str, Exposure]) -> Iterator[str]:
    """Images that lie elsewhere on the sky than the difference, or the science image if that does not tell."""
    shape = images["difference"].shape
    for base in ("difference", "science"):
        others = [role for role in images if role != base]
        found = {role: separation(images[base].header, images[role].header, shape) for role in others}
        known = {role: pixels for role, pixels in found.items() if pixels is not None}
        if known:
            break
    for role, pixels in known.items():
        if pixels > _APART:
            yield (
                f"{images[role].name}: lies {pixels:.3g} pixels away from the {base} {images[base].name} by its WCS; "
                f"all images must be on one grid of pixels: give the {role} that was aligned and subtracted, or "
                "correct its WCS if this is it"
            )


def _units(images: Mapping[str, Exposure], sides: tuple[SpatialKernel, SpatialKernel]) -> Iterator[str]:
    """Units of inputs that are not the difference's, though no kernel has converted them."""
    texts = {role: _text(image, "BUNIT").strip() for role, image in images.items()}
    base = next((role for role in ("difference", "science") if texts[role]), None)
    if base is None or len(set(filter(None, texts.values()))) < 2:
        return
    from diffim_decorr.images.bunit import ratio_of

    ny, nx = images["difference"].shape
    for role, kernel in zip(("science", "template"), sides, strict=True):
        ratio = ratio_of(texts[role], texts[base])
        places = [((box.x0 + box.x1 - 1) / 2, (box.y0 + box.y1 - 1) / 2) for box in kernel.boxes]
        total = float(kernel.sum_at(*(places[0] if places else ((nx - 1) / 2, (ny - 1) / 2))))
        if role == base or ratio is None or abs(ratio - 1) <= _AS_ONE or abs(total - 1) > _AS_ONE:
            continue
        yield (
            f"{images[role].name}: its unit (BUNIT) is {texts[role]}, that of the {base} {images[base].name} "
            f"{texts[base]}, and no kernel converts one into the other (the sum is {total:.3g}): check that the images "
            "belong together and the unit of their variances, or correct BUNIT"
        )
