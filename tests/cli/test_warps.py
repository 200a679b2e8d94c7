"""``--noise local`` with ``--sci-warp`` and ``--tmpl-warp``."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from scipy.signal import fftconvolve

from diffim_decorr import decorrelate, read_exposure, read_warp
from support.command import refused, succeed, told
from support.kernels import gaussian
from support.warped import Resampled, sky_headers

LOCAL = ("--noise", "local", "--spatial")
INPUTS = ("sci.fits", "tmpl.fits", "diff.fits", "--kernel", "kernel.fits")
IMAGE = Resampled("bilinear", 1.0, (260, 280))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A turned science image, and the one before."""
    path = tmp_path_factory.mktemp("warps")
    rng = np.random.default_rng(1)
    before, template = rng.standard_normal(IMAGE.before), rng.standard_normal(IMAGE.shape)
    science, kernel = IMAGE.of(before), gaussian(11, 1.3)
    now, native = sky_headers(IMAGE)
    for name, image, header in (
        ("sci", science, now), ("tmpl", template, now), ("native", before, native),
        ("diff", science - fftconvolve(template, kernel, "same"), now), ("kernel", kernel, None),
    ):  # fmt: skip
        fits.writeto(path / f"{name}.fits", image.astype("f4"), header)
    return path


def test_a_run(folder: Path, tmp_path: Path) -> None:
    warp = ("--sci-warp", "bilinear:native.fits")
    said = told(folder, "run", *INPUTS, *LOCAL, *warp, "--svar", "0.444", "--tvar", "1", "-o", tmp_path / "a.fits")
    assert said["noise"]["model"] == "local"
    science, template = said["noise"]["images"]
    assert science["phase_share"] == pytest.approx(1, abs=0.15)
    assert template["phase_share"] is None
    assert said["options"]["sci_warp"] == ["bilinear:native.fits"]
    assert said["options"]["tmpl_warp"] == []
    header = fits.getheader(tmp_path / "a.fits")
    assert header["DCSWARP"] == "bilinear:native.fits"
    assert header["DCTWARP"] == "none"
    assert header["DCPHASE1"] == science["phase_share"]
    assert any(str(value).endswith(" native.fits") for value in header["DCSUM*"].values())


def test_it_can_be_made_again(folder: Path, tmp_path: Path) -> None:
    """Of a coadd, from the command, from its header, from a file of options, and from Python."""
    warps = ("bilinear:native.fits", "lanczos3:native.fits[0]")
    repeated = [item for warp in warps for item in ("--sci-warp", warp)]
    out, again, python = (tmp_path / f"{name}.fits" for name in ("out", "again", "python"))
    succeed(folder, "run", *INPUTS, *LOCAL, *repeated, "-q", "-o", out)
    text = succeed(folder, "config", out).stdout
    assert tomllib.loads(text)["sci-warp"] == list(warps)
    (folder / "options.toml").write_text(text)
    succeed(folder, "run", *INPUTS[:3], "--config", "options.toml", "-q", "-o", again)
    succeed(folder, "rerun", out, "-q", "-o", tmp_path / "rerun.fits")
    science, template, difference = (read_exposure(folder / f"{name}.fits") for name in ("sci", "tmpl", "diff"))
    texts = [warp.replace("native", f"{folder}/native") for warp in warps]
    science = science.with_warps([read_warp(text, science) for text in texts])
    with pytest.warns(match="."):
        result = decorrelate(science, template, difference, folder / "kernel.fits", noise="local", spatial=True)
    result.write(python)
    first = fits.getdata(out, "IMAGE")
    for path in (again, tmp_path / "rerun.fits", python):
        np.testing.assert_array_equal(fits.getdata(path, "IMAGE"), first)


def test_one_warp_in_a_file_of_options(folder: Path, tmp_path: Path) -> None:
    (folder / "options.toml").write_text('noise = "local"\nspatial = true\nsci-warp = "bilinear:native.fits"\n')
    out = tmp_path / "out.fits"
    succeed(folder, "run", *INPUTS, "--config", "options.toml", "-q", "-o", out)
    assert fits.getheader(out)["DCSWARP"] == "bilinear:native.fits"


def test_images_that_were_stacked(folder: Path, tmp_path: Path) -> None:
    """Each has a warp of its own: by one of both, the noise of neither is known."""
    other = Resampled("bilinear", -0.8, IMAGE.shape)
    rng, header = np.random.default_rng(2), fits.getheader(folder / "sci.fits")
    again, template = other.noise(rng), fits.getdata(folder / "tmpl.fits")
    now, native = sky_headers(other)
    for name, image, cards in (
        ("again", again, now), ("native2", np.zeros(other.before), native),
        ("diff2", (fits.getdata(folder / "sci.fits") + again) / 2
         - fftconvolve(template, fits.getdata(folder / "kernel.fits"), "same"), header),
    ):  # fmt: skip
        fits.writeto(folder / f"{name}.fits", image.astype("f4"), cards)
    (folder / "stack.toml").write_text(
        '[[science]]\nfile = "sci.fits"\nwarp = "bilinear:native.fits"\n'
        '[[science]]\nfile = "again.fits"\nwarp = ["bilinear:native2.fits"]\n'
        '[[template]]\nfile = "tmpl.fits"\nnoise = 1.0\n'
    )
    stack = ("sci.fits", "tmpl.fits", "diff2.fits", "--kernel", "kernel.fits", "--inputs", "stack.toml")
    out = tmp_path / "out.fits"
    said = told(folder, "run", *stack, *LOCAL, "-o", out)
    shares = [image["phase_share"] for image in said["noise"]["images"]]
    assert shares[:2] == [pytest.approx(1, abs=0.15)] * 2
    assert shares[2] is None
    assert said["verdict"]["status"] == "ok"
    named = [str(value).rsplit(" ", 1)[-1] for value in fits.getheader(out)["DCSUM*"].values()]
    assert {"native.fits", "native2.fits"} <= {Path(name).name for name in named}
    refused(folder, "[[science]] 1: warp has a meaning with --noise local only", "run", *stack, "--noise", "measured",
            "-o", "never.fits", status=2)  # fmt: skip


def test_one_image_in_a_list(folder: Path, tmp_path: Path) -> None:
    (folder / "one.toml").write_text(
        '[[science]]\nfile = "sci.fits"\nwarp = "bilinear:native.fits"\n[[template]]\nfile = "tmpl.fits"\nnoise = 1.0\n'
    )
    one, two = tmp_path / "one.fits", tmp_path / "two.fits"
    succeed(folder, "run", *INPUTS, *LOCAL, "--inputs", "one.toml", "-q", "-o", one)
    succeed(folder, "run", *INPUTS, *LOCAL, "--sci-warp", "bilinear:native.fits", "--tvar", "1", "-q", "-o", two)
    np.testing.assert_array_equal(fits.getdata(one, "IMAGE"), fits.getdata(two, "IMAGE"))


@pytest.mark.parametrize(
    ("args", "says", "status"),
    [
        (("--sci-warp", "bilinear:native.fits"), "--sci-warp has a meaning with --noise local only", 2),
        (("--noise", "local", "--sci-warp", "bilinear:native.fits"), "--noise local needs --spatial", 2),
        ((*LOCAL, "--sci-warp", "bilinaer:native.fits"), "'--sci-warp': must be KIND:NATIVE, with a KIND of", 2),
        ((*LOCAL, "--sci-warp", "drizzle:native.fits"), "drizzle,PIXFRAC", 2),
        ((*LOCAL, "--sci-warp", "drizzle,1.5:native.fits"), "PIXFRAC is above 0 and not above 1", 3),
        ((*LOCAL, "--sci-warp", "bilinear:none.fits"), "none.fits: no such file", 3),
        ((*LOCAL, "--sci-warp", "bilinear:kernel.fits"), "its WCS does not tell", 3),
        ((*LOCAL, "--tmpl-warp", "bilinear:tmpl.fits"), "nothing was interpolated", 3),
        ((*LOCAL, "--tmpl-warp", "bilinear:native.fits", "--inputs", "a.toml"), "--inputs and --tmpl-warp exclude", 2),
    ],
)
def test_what_cannot_be(folder: Path, args: tuple[str, ...], says: str, status: int) -> None:
    refused(folder, says, "run", *INPUTS, *args, "-o", "never.fits", status=status)


def test_the_output_is_not_the_native_image(folder: Path) -> None:
    refused(folder, "native.fits", "run", *INPUTS, *LOCAL, "--sci-warp", "bilinear:native.fits", "-o", "native.fits",
        "--overwrite", status=2)  # fmt: skip
