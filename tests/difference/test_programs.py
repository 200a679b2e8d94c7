"""Which program made a difference, and PSFs that are given for its kernel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import DecorrWarning, Exposure, InputError, decorrelate, read_kernel
from diffim_decorr.difference.programs import falls_off_like_a_psf, program_of
from support.command import quickly, refused, succeed
from support.data import JWST, needs_jwst
from support.files import INPUTS
from support.hotpants import hotpants_kernel
from support.kernels import gaussian
from support.noise import noise_pair
from support.reference import convolved

HEADERS: dict[str, tuple[dict[str, Any], str]] = {
    "HOTPANTS": ({"SOFTNAME": "HOTPanTS"}, "--kernel DIFF takes the kernel inside the difference (-hki)"),
    "HOTPANTS without its name": ({"REGION00": "[1:96,1:80]", "CONVOL00": "TEMPLATE"}, "made by HOTPANTS"),
    "SFFT": ({"CONVD": "REF"}, "--kernel FILE takes the solution that SFFT wrote"),
    "SFFT of 2021": ({"NAME_REF": "a.fits", "NAME_SCI": "b.fits"}, "made by SFFT"),
}
LINE = ("run", *INPUTS[:4])


def mark(folder: Path, cards: dict[str, Any]) -> None:
    with fits.open(folder / "diff.fits", mode="update") as hdus:
        hdus[0].header.update(cards)


@pytest.mark.parametrize("made", HEADERS)
def test_psf_for_the_kernel_of_a_program(folder: Path, made: str) -> None:
    """It is refused with the remedy, whatever its width; as the PSF it is welcome."""
    cards, says = HEADERS[made]
    mark(folder, cards)
    moffat = (1 + np.hypot(*np.mgrid[-12:13, -12:13]) ** 2 / 9) ** -2.5
    fits.writeto(folder / "moffat.fits", moffat)
    for psf in ("psf.fits", "moffat.fits"):
        refused(folder, (f"{psf}: looks like a PSF", says, "--psf"), *LINE, psf, "-o", "out.fits")
    refused(folder, "psf.fits: looks like a PSF", *LINE, "psf.fits", "--psf", "psf.fits", "-o", "out.fits")


@pytest.mark.parametrize(
    ("cards", "card"),
    [({"EXTNAME": "PSF"}, "EXTNAME"), ({"OBJECT": "PSF of night 3"}, "OBJECT"), ({"PSFRESP": True}, "PSFRESP")],
)
def test_what_says_that_it_is_a_psf_is_no_kernel(folder: Path, cards: dict[str, Any], card: str) -> None:
    """Whoever made the difference; unless an image was convolved with it, which is for the user to say."""
    fits.writeto(folder / "own.fits", gaussian(9, 1.4), fits.Header(cards))
    refused(folder, (f"own.fits: is a PSF by its card {card}", "--psf"), *LINE, "own.fits", "-o", "out.fits")
    succeed(folder, *LINE, "own.fits", "--kernel-format", "image", "-o", "sure.fits")
    succeed(folder, *LINE, "own.fits", "--sci-kernel", "own.fits", "-o", "crossed.fits")
    succeed(folder, *LINE, "kernel.fits", "--psf", "own.fits", "-o", "right.fits")


def test_an_object_of_that_name_is_none(folder: Path) -> None:
    fits.writeto(folder / "own.fits", gaussian(9, 1.4), fits.Header({"OBJECT": "PSF J0123+45"}))
    succeed(folder, *LINE, "own.fits", "-o", "out.fits")


@pytest.mark.parametrize("made", HEADERS)
def test_images_that_can_be_kernels_of_a_program(folder: Path, made: str) -> None:
    """Those with negative lobes, of a single pixel, evaluated by ourselves, or of which the user is sure."""
    mark(folder, HEADERS[made][0])
    fits.writeto(folder / "lobes.fits", gaussian(15, 1.4) - gaussian(15, 2.0, total=0.2))
    fits.writeto(folder / "one.fits", np.pad([[1.0]], 5))
    succeed(folder, "kernel", "at", "kernel.fits", "3", "4", "-o", "at.fits")
    succeed(folder, "kernel", "convert", "kernel.fits", "--to", "table", "-o", "table.fits")
    for k, more in enumerate((["lobes.fits"], ["one.fits"], ["at.fits"], ["table.fits"])):
        succeed(folder, *LINE, *more, "-o", f"{k}.fits")
    succeed(folder, *LINE, "kernel.fits", "--kernel-format", "image", "-o", "sure.fits")


def test_differences_of_other_programs(folder: Path) -> None:
    """A kernel may well be positive where nothing is known of the program."""
    assert "PSF" not in quickly(folder, *LINE, "kernel.fits", "-o", "out.fits").stderr
    for header in (None, {}, {"CONVD": "no"}, {"REGION00": "[1:2,1:2]"}, {"SOFTNAME": "ISIS"}):
        assert program_of(header) is None


def images(psf: np.ndarray, **cards: Any) -> list[Exposure]:
    science, template = noise_pair(3, (120, 130), 1.0, 1.0)
    difference = science - convolved(template, psf / psf.sum())
    return [
        Exposure(science, 1.0, name="science", psf=psf),
        Exposure(template, 1.0, name="template", psf=gaussian(21, 1.1)),
        Exposure(difference, header=fits.Header(cards), name="difference"),
    ]


@pytest.mark.parametrize("factor", [1.0, 7.5])
@pytest.mark.parametrize("width", [17, 21, 31])
def test_kernel_that_is_the_psf_of_an_input(width: int, factor: float) -> None:
    """Told whatever its size and scale; refused where the program is known; right with another kernel beside it."""
    psf = gaussian(21, 1.6)
    kernel = gaussian(width, 1.6, total=factor)
    with pytest.warns(DecorrWarning, match="the matching kernel is the PSF of science: give the kernel that matches"):
        decorrelate(*images(psf), kernel, convolved="template")
    with pytest.raises(InputError, match=r"kernel: .* is the PSF of science, but the difference was made by SFFT; "):
        decorrelate(*images(psf, CONVD="REF"), kernel)
    crossed = decorrelate(*images(psf), kernel, science_kernel=gaussian(21, 1.1))
    assert not any("is the PSF of" in text for text in crossed.warnings)


def test_kernels_that_are_no_psf() -> None:
    """Of nearly the same width, of a single pixel, and such as vary."""
    made = images(gaussian(21, 1.6))
    for kernel in (gaussian(21, 1.62), np.ones((1, 1)), np.pad([[1.0]], 3)):
        result = decorrelate(*made, kernel)
        assert not any("is the PSF of" in text for text in result.warnings)


def test_what_falls_off_like_a_psf() -> None:
    airy = np.sinc(np.hypot(*np.mgrid[-20:21, -20:21]) / 3) ** 2
    for image in (gaussian(15, 2.0), gaussian((14, 15), (1.2, 2.5), 30, (0.4, -0.3)), airy):
        assert falls_off_like_a_psf(image)
        noisy = image + np.random.default_rng(1).normal(0, 2e-4 * image.max(), image.shape)
        assert falls_off_like_a_psf(noisy)
    for image in (np.full((3, 3), 1 / 9), -gaussian(15, 2.0), np.pad([[1.0]], 5), gaussian(9, 3.0), np.zeros((5, 5))):
        assert not falls_off_like_a_psf(image)


@needs_jwst
@pytest.mark.parametrize(
    "name", ["hotpants_diff.fits", "hotpants_diff_2x2_science_convolved.fits", "sfft_solution.fits"]
)
def test_real_kernels_do_not_look_like_psfs(name: str) -> None:
    kernel = read_kernel(JWST / name).kernel
    assert not any(falls_off_like_a_psf(kernel.at(x, y)) for x in range(40, 900, 90) for y in range(40, 900, 90))
    psfs = [fits.getdata(JWST / f"{side}_psf.fits") for side in ("sci", "tmpl")]
    assert all(falls_off_like_a_psf(psf) for psf in psfs)


def test_kernels_of_hotpants_as_images() -> None:
    """What was evaluated by another program than ours has its lobes still."""
    kernel = hotpants_kernel((80, 96), seed=4)
    assert not falls_off_like_a_psf(kernel.at(40, 40))
