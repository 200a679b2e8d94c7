"""The list of images on each side of a difference of stacks, as a TOML file.

::

    [[science]]
    file = "night2_a.fits"        # needed if its noise is to be measured
    noise = 33.99                 # standard deviation of its background, instead
    variance = "night2_a_var.fits"
    weight = 0.2                  # default: 1 over the number of images on this side
    kernel = "night2_a_match.fits"
    warp = "lanczos3:raw.fits"    # how it was resampled, for --noise local; a list for a coadd
    noise_image = ["noise.fits"]  # pure noise that was resampled like it, instead

    [[template]]
    noise = 53.8
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from diffim_decorr.difference.contributions import Contribution
from diffim_decorr.errors import InputError
from diffim_decorr.io.exposures import load_exposure
from diffim_decorr.io.kernels.registry import load_kernel
from diffim_decorr.io.toml_files import read_toml
from diffim_decorr.io.warps import read_warp
from diffim_decorr.options import Side

__all__ = ("input_files", "read_inputs")

_NAMES = "variance", "mask", "kernel"
_KEYS: dict[str, tuple[type, ...]] = {
    "file": (str,), **dict.fromkeys(_NAMES, (str,)), "noise": (int, float), "weight": (int, float),
    "warp": (str, list), "noise_image": (str, list),
}  # fmt: skip
# What tells something of a file, and has no meaning without one.
_OF_FILES = "variance", "mask", "warp", "noise_image"


def read_inputs(path: str | os.PathLike[str], shape: tuple[int, int]) -> list[Contribution]:
    """Read a list of contributing images; file names in it are relative to its directory.

    Parameters
    ----------
    path
        The TOML file.
    shape
        Of the difference, (ny, nx).

    Raises
    ------
    InputError
        If the file or anything that it names cannot be used.
    """
    path = os.fspath(path)
    return [_contribution(path, side, number, entry, shape) for side, number, entry in _entries(path)]


def input_files(path: str | os.PathLike[str]) -> list[str]:
    """The names of all files in a list of contributing images.

    Raises
    ------
    InputError
        If the list cannot be used.
    """
    path = os.fspath(path)
    return [file for *_, entry in _entries(path) for file in _all_files(path, entry)]


def _entries(path: str) -> Iterator[tuple[Side, int, dict[str, Any]]]:
    """Side, number on that side and keys of each image."""
    content = read_toml(path, InputError)
    sides: tuple[Side, Side] = ("science", "template")
    unknown = set(content) - set(sides)
    if unknown:
        raise InputError(f"{path}: unknown entry {sorted(unknown)[0]!r}; there are only [[science]] and [[template]]")
    for side in sides:
        entries = content.get(side, [])
        if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
            raise InputError(f"{path}: there must be at least one [[{side}]] entry")
        for number, entry in enumerate(entries, 1):
            _check_entry(f"{path}: [[{side}]] {number}", entry)
            yield side, number, entry


def _check_entry(name: str, entry: dict[str, Any]) -> None:
    for key, value in entry.items():
        if key not in _KEYS:
            raise InputError(f"{name}: unknown key {key!r}; known are {', '.join(_KEYS)}")
        listed = isinstance(value, list) and not (value and all(isinstance(one, str) for one in value))
        if not isinstance(value, _KEYS[key]) or isinstance(value, bool) or listed:
            raise InputError(f"{name}: {key} = {value!r} is of the wrong type")
    needing = [key for key in _OF_FILES if key in entry]
    if "file" not in entry and needing:
        raise InputError(f"{name}: {needing[0]} needs the file that it belongs to")
    if "warp" in entry and "noise_image" in entry:
        raise InputError(f"{name}: warp and noise_image exclude each other")


def _files(path: str, entry: dict[str, Any]) -> dict[str, str]:
    folder = os.path.dirname(path)
    return {key: os.path.join(folder, entry[key]) for key in ("file", *_NAMES) if key in entry}


def _listed(entry: dict[str, Any], key: str) -> list[str]:
    value = entry.get(key, [])
    return [value] if isinstance(value, str) else value


def _warps(path: str, entry: dict[str, Any]) -> list[tuple[str, str]]:
    """Kinds of interpolation, and the files with the pixels before."""
    pairs = (warp.partition(":") for warp in _listed(entry, "warp"))
    return [(kind, os.path.join(os.path.dirname(path), native)) for kind, _, native in pairs]


def _noise_images(path: str, entry: dict[str, Any]) -> list[str]:
    return [os.path.join(os.path.dirname(path), file) for file in _listed(entry, "noise_image")]


def _all_files(path: str, entry: dict[str, Any]) -> list[str]:
    natives = [native for _, native in _warps(path, entry)]
    return [*_files(path, entry).values(), *natives, *_noise_images(path, entry)]


def _contribution(path: str, side: Side, number: int, entry: dict[str, Any], shape: tuple[int, int]) -> Contribution:
    name = f"{path}: [[{side}]] {number}"
    files = _files(path, entry)
    exposure = None
    if "file" in files:
        exposure = load_exposure(files["file"], variance=files.get("variance"), mask=files.get("mask"))
        if exposure.shape != shape:
            mine, its = (f"{s[1]} x {s[0]}" for s in (exposure.shape, shape))
            raise InputError(f"{name}: {exposure.name} has {mine} pixels, but the difference has {its}")
        exposure = exposure.with_warps([read_warp(f"{kind}:{file}", exposure) for kind, file in _warps(path, entry)])
    kernel = None
    if "kernel" in files:
        kernel = load_kernel(files["kernel"], shape)
    noise = tuple(load_exposure(file) for file in _noise_images(path, entry))
    return Contribution(side, exposure, entry.get("noise"), entry.get("weight"), kernel, name, noise)
