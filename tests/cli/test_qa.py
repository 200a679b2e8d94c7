"""``decorr qa`` through the executable."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from support.command import decorr, refused, succeed
from support.files import write_exposure
from support.kernels import gaussian
from support.noise import noise_pair, white
from support.reference import convolved

SHAPE = (300, 330)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Perfect noise of ours and of others, and a pair with its kernel."""
    place = tmp_path_factory.mktemp("qa")
    kernel = gaussian(15, 1.4)
    science, template = noise_pair(21, (300, 500), 1.0, 2.0)
    for name, image, variance in (("sci", science, 1.0), ("tmpl", template, 2.0)):
        write_exposure(place / f"{name}.fits", image, np.full(image.shape, variance), np.zeros(image.shape, "i4"))
    fits.writeto(place / "diff.fits", (science - convolved(template, kernel)).astype("f4"))
    fits.writeto(place / "kernel.fits", kernel)
    inputs = ("sci.fits", "tmpl.fits", "diff.fits", "--kernel", "kernel.fits")
    succeed(place, "run", *inputs, "-o", "ours.fits", "-q")
    rng = np.random.default_rng(20)
    write_exposure(place / "white.fits", white(rng, SHAPE, 4.0), np.full(SHAPE, 4.0), np.zeros(SHAPE, "i4"))
    fits.writeto(place / "plain.fits", white(rng, SHAPE, 4.0).astype("f4"))
    fits.writeto(place / "sigma.fits", np.full(SHAPE, 2.0, "f4"))
    return place


def judged(folder: Path, *arguments: object) -> dict:
    return json.loads(succeed(folder, "qa", *arguments, "--json").stdout)


def test_our_own_output(folder: Path) -> None:
    tree = judged(folder, "ours.fits")
    assert tree["verdict"]["status"] == "ok"
    assert tree["made_by"] == "0.1.0"
    run = fits.getheader(folder / "ours.fits")
    assert tree["figures"]["snr_std"]["value"] == pytest.approx(run["DCSNRSTD"], abs=5 * 1.1664 / run["DCNPIX"] ** 0.5)


def test_an_image_of_others(folder: Path) -> None:
    tree = judged(folder, "white.fits")
    assert tree["verdict"]["status"] == "ok"
    assert tree["made_by"] is None
    assert not tree["warnings"]
    assert tree["figures"]["snr_std"]["value"] == pytest.approx(1, abs=0.02)


def test_companions_of_an_image(folder: Path) -> None:
    bare = judged(folder, "plain.fits")
    assert "--variance" in bare["warnings"][0]
    given = judged(folder, "plain.fits", "--noise", "sigma.fits")
    assert not given["warnings"]
    assert given["figures"]["snr_std"]["value"] == pytest.approx(1, abs=0.02)


def test_the_raw_difference_is_told_to_be_raw(folder: Path) -> None:
    done = succeed(folder, "qa", "diff.fits")
    assert done.stdout.startswith("verdict")
    assert "decorr run" in done.stdout
    tree = judged(folder, "diff.fits", "--sci", "sci.fits", "--tmpl", "tmpl.fits", "--kernel", "kernel.fits")
    chi2 = tree["figures"]["spectrum_chi2"]
    assert chi2["value"] < 1 + 5 * chi2["error"]
    assert tree["spectrum"]["model"] is not None


def test_before_and_after(folder: Path) -> None:
    tree = judged(folder, "ours.fits", "--before", "diff.fits")
    figures = tree["figures"]
    assert figures["max_abs_rho_before"]["value"] > 5 * figures["max_abs_rho"]["value"]
    # The kernel is for pictures only: the run knew more of the inputs' noise than is given here.
    given = ("--sci", "sci.fits", "--tmpl", "tmpl.fits", "--kernel", "kernel.fits")
    assert not judged(folder, "ours.fits", "--before", "diff.fits", *given)["warnings"]


def test_the_form_of_the_object(folder: Path) -> None:
    """Frozen: what scripts rely on. Whatever is taken away or means something else gets another number."""
    tree = judged(folder, "ours.fits", "--sci", "sci.fits", "--before", "diff.fits")
    assert tree["schema"] == 1
    assert set(tree) == {
        "schema", "version", "image", "shape", "made_by", "verdict", "figures", "pixels", "correlation", "spectrum",
        "histogram", "cells", "warnings",
    }  # fmt: skip
    assert set(tree["verdict"]) == {"status", "reasons", "explanation"}
    single = {
        "max_abs_rho", "max_abs_rho_before", "rho_chi2", "rho_chi2_far", "snr_std", "cell_spread", "psf_scatter",
        "spectrum_chi2", "residual", "flagged",
    }  # fmt: skip
    several = {
        "rho_1": {"x", "y", "diagonal", "antidiagonal"},
        "block_std": {"2", "4", "8", "16", "32"},
        "tails": {f"{side}_{sigma}" for side in ("above", "below") for sigma in (3, 4, 5)},
        "peaks": {f"{side}_{sigma}" for side in ("above", "below") for sigma in (4, 5)},
        "background": {"level", "gradient_x", "gradient_y"},
    }
    assert set(tree["figures"]) == single | set(several)
    for name in single:
        assert set(tree["figures"][name]) == {"value", "expected", "error"}
    for name, scales in several.items():
        assert set(tree["figures"][name]) == scales
        assert all(set(figure) == {"value", "expected", "error"} for figure in tree["figures"][name].values())
    assert set(tree["pixels"]) == {"all", "without_data", "used", "flagged", "planes"}
    assert set(tree["correlation"]) == {"lag", "rho", "error", "rho_before"}
    assert np.array(tree["correlation"]["rho"]).shape == (41, 41)
    assert set(tree["spectrum"]) == {"frequency", "power", "error", "model"}
    assert len(tree["histogram"]["edges"]) == len(tree["histogram"]["counts"]) + 1 == 65
    assert sum(tree["histogram"]["counts"]) == tree["pixels"]["used"]
    assert set(tree["cells"]) == {"snr_std", "rho_1", "level", "flagged"}


def test_the_table_on_standard_output(folder: Path) -> None:
    text = succeed(folder, "qa", "white.fits").stdout
    for name in ("max_abs_rho", "block_std.8", "peaks.above_4", "background.level", "pixels", "SAT"):
        assert any(line.startswith(name) for line in text.splitlines()), name
    assert not succeed(folder, "qa", "white.fits", "-q").stdout


def test_several_images_in_one_table(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "night.ecsv"
    done = succeed(folder, "qa", "white.fits", "ours.fits", "--ecsv", path)
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["ok", "ok"]
    table = Table.read(path)
    assert list(table["verdict"]) == ["ok", "ok"]
    assert {"snr_std", "snr_std_expected", "snr_std_error", "block_std.8"} <= set(table.colnames)
    refused(folder, "exists", "qa", "white.fits", "--ecsv", path, status=2)
    succeed(folder, "qa", "white.fits", "--ecsv", path, "--overwrite")
    assert len(Table.read(path)) == 1
    whole = judged(folder, "white.fits", "ours.fits")
    assert [one["image"] for one in whole["images"]] == ["white.fits[IMAGE]", "ours.fits[IMAGE]"]


def test_one_image_that_cannot_be_read_does_not_stop_the_others(folder: Path) -> None:
    (folder / "broken.fits").write_bytes(b"nothing")
    done = decorr(folder, "qa", "broken.fits", "white.fits")
    assert done.returncode == 3
    assert "broken.fits" in done.stderr
    assert done.stdout.startswith("ok")
    refused(folder, "broken.fits", "qa", "broken.fits", status=3)


@pytest.mark.parametrize(
    ("condition", "status"),
    [("max_abs_rho>0.05", 0), ("snr_std<1.1", 4), ("block_std.8 >= 0.5", 4), ("max_abs_rho_before>0", 4)],
)
def test_limits_of_ones_own(folder: Path, condition: str, status: int) -> None:
    """What was not measured meets any condition: nobody knows that it is good."""
    done = decorr(folder, "qa", "white.fits", "--fail-if", condition)
    assert done.returncode == status, done.stderr
    if status:
        assert condition.split(">")[0].split("<")[0].strip() in done.stderr


def test_strict(folder: Path) -> None:
    assert decorr(folder, "qa", "white.fits", "--strict").returncode == 0
    # Standard deviations for variances: the scatter is 1.4.
    assert decorr(folder, "qa", "plain.fits", "--variance", "sigma.fits", "--strict").returncode == 4


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("white.fits", "--fail-if", "rho"), "must be like"),
        (("white.fits", "--fail-if", "sigma>1"), "there is no figure"),
        (("white.fits", "--fail-if", "snr_std>x"), "no number"),
        (("white.fits", "--fail-if", "block_std>1"), "several values"),
        (("white.fits", "--fail-if", "block_std.7>1"), "block_std.8"),
        (("white.fits", "plain.fits", "--noise", "sigma.fits"), "belongs to one image"),
        (("diff.fits", "--kernel", "kernel.fits"), "needs --sci"),
        (("diff.fits", "--tmpl", "tmpl.fits"), "needs --sci"),
    ],
)
def test_wrong_usage(folder: Path, arguments: tuple[str, ...], says: str) -> None:
    refused(folder, says, "qa", *arguments, status=2)


def test_images_of_another_size(folder: Path) -> None:
    refused(folder, "pixels", "qa", "white.fits", "--sci", "sci.fits", status=3)


def test_a_run_writes_picture_and_page(folder: Path, tmp_path: Path) -> None:
    inputs = ("sci.fits", "tmpl.fits", "diff.fits", "--kernel", "kernel.fits")
    out, page, picture = (tmp_path / name for name in ("o.fits", "o.html", "o.png"))
    succeed(folder, "run", *inputs, "-o", out, "-q", "--report", page, "--plot", picture)
    text = page.read_text(encoding="utf-8")
    assert '<span class="badge ok">ok</span>' in text
    # With everything that the run knew: the difference before, and the matching kernel.
    for name in ("before_zoom", "kernel", "psi", "ratio"):
        assert f'id="picture-{name}"' in text
    assert "decorr run sci.fits tmpl.fits diff.fits" in text
    assert picture.read_bytes().startswith(b"\x89PNG")
    # What is there is not replaced unasked, and nothing is begun that could not be finished.
    refused(folder, "exists", "run", *inputs, "-o", tmp_path / "p.fits", "--report", page, status=2)
    assert not (tmp_path / "p.fits").exists()
    for option, value, says in (("--plot", "x.doc", "must be one of"), ("--report", "x.txt", ".html")):
        refused(folder, says, "run", *inputs, "-o", tmp_path / "p.fits", option, tmp_path / value, status=2)
    refused(folder, "--all-ext", "run", *inputs, "-o", tmp_path / "p.fits", "--all-ext", "--plot", picture, status=2)


def test_pages_of_one_image_only(folder: Path) -> None:
    refused(folder, "decorr report", "qa", "white.fits", "plain.fits", "--report", "x.html", status=2)
