"""SFFT's differences come out of its solutions, and its stacks of many images come out white."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from scipy.signal import fftconvolve

from diffim_decorr import MatchingKernel, read_kernel
from support.command import told
from support.data import DECAM, JWST, SFFT, needs_decam, needs_jwst
from support.reference import brute_force


def pixels(path: Path) -> np.ndarray:
    return np.nan_to_num(fits.getdata(path).astype(float))


def own_difference(matching: MatchingKernel, science: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The difference that SFFT makes with a kernel, but for the background."""
    (side,) = matching.convolved
    image, sign = (science, 1.0) if side == "science" else (reference, -1.0)
    # It weights the image before it convolves.
    weights = matching.kernel.coefficients.grid(np.arange(image.shape[1]), np.arange(image.shape[0]))
    convolved = sum(fftconvolve(w * image, b, "same") for w, b in zip(weights, matching.kernel.basis, strict=True))
    return sign * convolved - sign * (reference if side == "science" else science)


def deviation(mine: np.ndarray, theirs: np.ndarray, margin: int) -> np.ndarray:
    """What is left of a constant background, away from the edges, where SFFT wraps around."""
    residual = (mine - theirs)[margin:-margin, margin:-margin]
    return residual - np.median(residual)


@needs_jwst
def test_difference_of_the_jwst_pair_is_reproduced() -> None:
    science, reference, theirs = (pixels(JWST / f"{name}.fits") for name in ("sci", "tmpl", "sfft_diff"))
    matching = read_kernel(JWST / "sfft_solution.fits", science.shape, fits.getheader(JWST / "sfft_diff.fits"))
    assert (matching.format, matching.convolved, matching.normalized) == ("sfft", ("template",), (False,))
    assert not matching.parent_frame
    sigma = np.sqrt(sum(np.nanmedian(pixels(JWST / f"{name}_noise.fits") ** 2) for name in ("sci", "tmpl")))
    # The difference is of single precision: half a unit in the last place of the brightest star is 2e-6 sigma.
    assert np.abs(deviation(own_difference(matching, science, reference), theirs, 20)).max() < 5e-6 * sigma


@pytest.mark.parametrize(
    ("name", "side", "count"),
    # Functions along x and y of the kernel, and those of its sum.
    [
        ("spline_spline", "template", 4 * 5 + 3 * 2),
        ("spline_poly", "science", 4 * 3 + 3),
        ("poly_poly", "template", 6 + 3),
    ],
)
def test_differences_of_bsplines_and_separate_scaling_are_reproduced(name: str, side: str, count: int) -> None:
    science, reference, theirs = (pixels(SFFT / f"{file}.fits.gz") for file in ("sci", "ref", f"{name}_diff"))
    matching = read_kernel(SFFT / f"{name}_solution.fits", science.shape)
    assert matching.convolved == (side,)
    assert len(matching.kernel.basis) == count
    mine = own_difference(matching, science, reference)
    assert np.abs(deviation(mine, theirs, 3)).max() < 1e-7 * np.abs(theirs).max()
    # The same in coordinates that begin elsewhere.
    moved = matching.kernel.shifted(30, -7)
    np.testing.assert_allclose(moved.at(41, 5), matching.kernel.at(11, 12), rtol=0, atol=1e-13)


def by_hand() -> Callable[[int, int], np.ndarray]:
    """The kernel of the JWST solution at 0-based pixels."""
    header, solution = fits.getheader(JWST / "sfft_solution.fits"), fits.getdata(JWST / "sfft_solution.fits")[0]
    planes = (solution[: -header["FPQ"]] / (900 * 900)).reshape(6, 15, 15)
    planes[:, 7, 7] = 2 * planes[:, 7, 7] - planes.sum(axis=(1, 2))
    powers = [(i, j) for i in range(3) for j in range(3 - i)]

    def kernel(x: int, y: int) -> np.ndarray:
        u, v = (x + 1) / 900, (y + 1) / 900
        return sum(plane * u**i * v**j for plane, (i, j) in zip(planes, powers, strict=True)).T

    return kernel


@needs_jwst
def test_whitened_jwst_difference_is_that_of_brute_force(tmp_path: Path) -> None:
    svar, tvar = (float(np.nanmedian(pixels(JWST / f"{name}_noise.fits") ** 2)) for name in ("sci", "tmpl"))
    files = [JWST / f"{name}.fits" for name in ("sci", "tmpl", "sfft_diff")]
    line = ("run", *files, "--kernel", JWST / "sfft_solution.fits", "--spatial", "--svar", svar, "--tvar", tvar)
    assert told(tmp_path, *line, "-o", "out.fits")["mode"] == "spatial"
    result = fits.getdata(tmp_path / "out.fits", "IMAGE").astype(float)
    difference = pixels(JWST / "sfft_diff.fits")
    positions = [(int(x), int(y)) for x, y in np.random.default_rng(5).integers(60, 840, (60, 2))]

    kernel = by_hand()

    def psi(x: int, y: int) -> np.ndarray:
        padded = np.zeros((256, 256))
        padded[:15, :15] = kernel(x, y)
        power = svar + tvar * np.abs(np.fft.fft2(padded)) ** 2
        whole = np.fft.fftshift(np.fft.ifft2(np.sqrt(power[0, 0] / power)).real)
        return whole[68:189, 68:189]

    here = np.array([result[y, x] for x, y in positions])
    errors = (brute_force(difference, positions, psi) - here) / np.sqrt(svar + tvar)
    assert np.abs(errors).max() < 2e-3


@needs_decam
def test_stacks_agree_with_sfft(tmp_path: Path) -> None:
    """SFFT's decorrelation kernel to 1e-5 of its peak, its difference to 1e-3 σ; measured noise leaves less than it."""
    folder = DECAM
    sky = {
        "04": {"a": 33.9862, "b": 26.9599, "c": 26.1457, "d": 29.3691, "e": 30.0995},
        "18": {"a": 53.776, "b": 42.9849, "c": 46.8331, "d": 58.0844, "e": 48.2887},
    }
    lists = {}
    for model in ("white", "measured"):
        lines = []
        for side, night in (("science", "04"), ("template", "18")):
            for letter, sigma in sky[night].items():
                name = folder / "inputs" / f"DEC-OBS{night}{letter}"
                lines += [f"[[{side}]]", f'file = "{name}.mini.fits"', "weight = 0.2"]
                lines += [f'kernel = "{name}.MatchKernel.fits"'] if letter != "a" else []
                lines += [f"noise = {sigma}"] if model == "white" else []
        lists[model] = tmp_path / f"{model}.toml"
        lists[model].write_text("\n".join(lines))
    expected = folder / "sfft_expected"
    stacks = [expected / f"{n}.fits" for n in ("Stack-DEC-OBS04", "Stack-DEC-OBS18", "FinalDifference")]
    figures = {}
    for model, extra in (("white", ["--half-width", "25"]), ("measured", [])):
        line = ("run", *stacks, "--kernel", folder / "inputs" / "FinalMatchKernel.fits", "--inputs", lists[model])
        figures[model] = told(tmp_path, *line, "--noise", model, "-o", f"{model}.fits", *extra)
    kernel = fits.getdata(expected / "DeCorrKernel.fits")
    with fits.open(tmp_path / "white.fits") as hdus:
        assert np.abs(hdus["PSI_BASIS"].data[0] - kernel).max() <= 1e-5 * kernel.max()
        image = hdus["IMAGE"].data.astype(float)
    published = fits.getdata(expected / "FinalDifference.DeCorr.fits").astype(float)
    sigma = 1.4826 * np.median(np.abs(published - np.median(published)))
    assert np.abs(image - published)[30:-30, 30:-30].max() <= 1e-3 * sigma
    assert figures["white"]["qa"]["max_abs_rho_after"] > 0.12
    assert figures["measured"]["qa"]["max_abs_rho_after"] <= 0.03
    assert figures["measured"]["qa"]["snr_std"] == pytest.approx(1, abs=0.02)
