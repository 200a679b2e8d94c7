"""What the documentation says holds: its lines of code run, its lists are complete."""

from __future__ import annotations

import re
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import decorrelate, read_exposure, read_kernel
from support.command import succeed
from support.data import JWST, needs_jwst
from support.files import INPUTS, make_inputs
from support.project import ROOT, code_blocks, output_of

README, OUTPUT = (ROOT / name for name in ("README.md", "docs/output.md"))
NUMBERED = re.compile(r"^(DC(?:WARN|WHY|VFAC|CORR|PLAT|MPIX|PHASE|MSRC|NVAR|FAIL|SUM|MT))\d+$")


@pytest.fixture(scope="module")
def exposure(tmp_path_factory):
    """A simulated exposure and what the README's one command makes of it."""
    folder = tmp_path_factory.mktemp("readme")
    output_of("decorr", "simulate", folder, "--size", 256, "--tvar", 400, "--kernel-sigma", 1, "--depth-step", 2)
    (command,) = code_blocks(README, "sh")
    output_of("bash", "-euc", command, cwd=folder)
    return folder


def test_python_lines_of_the_readme(exposure, tmp_path, monkeypatch, capsys):
    shutil.copytree(exposure, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    (lines,) = code_blocks(README, "python")
    names = {}
    exec(lines, names)
    before, after = map(float, re.findall(r"[\d.]+", capsys.readouterr().out))
    assert after < 0.03 < 0.1 < before
    assert names["psi"].sum() == pytest.approx(1, abs=1e-5)
    assert 0.9 < np.nanstd(names["snr"][names["result"].exposure.mask == 0]) < 1.1


def psi_lines():
    (lines,) = [lines for lines in code_blocks(OUTPUT, "python") if "def psi_at" in lines]
    return lines


def test_ccddata_lines_of_the_output_page(exposure, monkeypatch):
    monkeypatch.chdir(exposure)
    (lines,) = [lines for lines in code_blocks(OUTPUT, "python") if "to_ccddata" in lines]
    names = {}
    exec(lines, names)
    assert np.array_equal(names["exposure"].image, fits.getdata("diff_decorr.fits", "IMAGE"), equal_nan=True)
    assert names["data"].uncertainty.array.shape == names["exposure"].shape


def positions(shape):
    ny, nx = shape
    return [(x, y) for x in (0, 17.3, nx // 2, nx - 1) for y in (0, ny / 3, ny - 1)]


def test_psi_from_the_output_file(exposure, monkeypatch):
    """The lines of docs/output.md give what the Python API has."""
    monkeypatch.chdir(exposure)
    names = {}
    exec(psi_lines(), names)
    science, template, difference = (read_exposure(f"{name}.fits") for name in ("sci", "tmpl", "diff"))
    result = decorrelate(science, template, difference, read_kernel("kernel.fits", difference.shape), spatial=True)
    assert not result.psi.is_constant
    with fits.open("diff_decorr.fits") as hdus:
        for x, y in positions(difference.shape):
            assert np.allclose(names["psi_at"](hdus, x, y), result.psi.at(x, y), rtol=0, atol=1e-6)


def test_constant_psi_from_the_output_file(exposure, tmp_path, monkeypatch):
    monkeypatch.chdir(exposure)
    output = tmp_path / "diff_decorr.fits"
    output_of("decorr", "run", "sci.fits", "tmpl.fits", "diff.fits", "--kernel", "kernel.fits", "-o", output)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(psi_lines(), names)
    with fits.open(output) as hdus:
        assert np.allclose(names["psi"], hdus["PSI_BASIS"].data[0], atol=1e-6)


@needs_jwst
def test_psi_with_regions(monkeypatch, tmp_path):
    """Rows of PSI_COEFFS for each region of a HOTPANTS run_script; where rectangles overlap the last one counts."""
    name = "hotpants_diff_2x2_science_convolved.fits"
    output = tmp_path / "diff_decorr.fits"
    output_of("decorr", "run", JWST / "sci.fits", JWST / "tmpl.fits", JWST / name, "--kernel", JWST / name,
        "--spatial", "--tolerance", "0.02", "-o", output)  # fmt: skip
    science, template, difference = (read_exposure(JWST / file) for file in ("sci.fits", "tmpl.fits", name))
    kernel = read_kernel(JWST / name, difference.shape)
    result = decorrelate(science, template, difference, kernel, spatial=True, tolerance=0.02)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(psi_lines(), names)
    with fits.open(output) as hdus:
        assert len(hdus["PSI_COEFFS"].data) == 4
        for x, y in positions(difference.shape):
            assert np.allclose(names["psi_at"](hdus, x, y), result.psi.at(x, y), rtol=0, atol=1e-5)


def test_output_page_is_complete(exposure, tmp_path):
    """Every HDU and every card that a run_script writes is described, and nothing else is."""
    files = [exposure / f"{name}.fits" for name in ("sci", "tmpl", "diff")]
    outputs = [exposure / "diff_decorr.fits", tmp_path / "constant.fits", tmp_path / "measured.fits"]
    for path, options in zip(
        outputs[1:],
        (["--kernel-at", 10, 10], ["--noise", "measured", "--spatial", "--background", 64, "--write-background"]),
        strict=True,
    ):
        psf = ["--psf", exposure / "sci_psf.fits"]
        output_of("decorr", "run", *files, "--kernel", exposure / "kernel.fits", *psf, *options, "-o", path)
    text = OUTPUT.read_text()
    cards, hdus = set(), set()
    for path in outputs:
        with fits.open(path) as opened:
            cards |= {NUMBERED.sub(r"\1n", card) for card in opened[0].header if card.startswith("DC")}
            hdus |= {hdu.name for hdu in opened}
    described = set(re.findall(r"`(DC[A-Z0-9]+n?)`", text))
    sources = {path: path.read_text() for path in (ROOT / "diffim_decorr").rglob("*.py")}
    assert cards <= described
    source = "".join(sources.values())
    for card in described - cards:
        assert any(name in source for name in (f'"{card}"', f'"{card[:-1]}{{', f'"{card[:-1]}"')), card
    rows = re.findall(r"^\| `([A-Z_]+)` \| (?:–|float|int|table)", text, flags=re.MULTILINE)
    # There is no calibration as a function of position where it does not vary.
    assert hdus | {"CALIBRATION"} == set(rows)


@pytest.mark.parametrize("page", ["apply", "kernels", "snr"])
def test_commands_of_a_page(exposure, tmp_path, page):
    """They run_script as they are, next to what the README's command has made."""
    for path in exposure.iterdir():
        shutil.copy(path, tmp_path)
    for commands in code_blocks(ROOT / "docs" / f"{page}.md", "sh"):
        output_of("bash", "-euc", commands, cwd=tmp_path)
    if page == "apply":
        same, image = (fits.getdata(tmp_path / f"{name}.fits", "IMAGE") for name in ("same", "diff_decorr"))
        assert np.array_equal(same, image, equal_nan=True)


def test_python_lines_about_companions(exposure, monkeypatch):
    monkeypatch.chdir(exposure)
    (lines,) = code_blocks(ROOT / "docs" / "apply.md", "python")
    names = {}
    exec(lines, names)
    assert names["kernel"].sum() == pytest.approx(1, abs=1e-5)
    assert names["psf"].sum() == pytest.approx(1, abs=1e-5)
    assert names["science"].variance.shape == (256, 256)


def test_python_lines_about_maps(exposure, tmp_path, monkeypatch):
    for path in exposure.iterdir():
        shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    succeed(tmp_path, "run", *INPUTS, "--psf", "sci_psf.fits", "--spatial", "-o", "white.fits")
    # That for STDPipe was run by hand, with the versions that the page names.
    sources, _, lines = code_blocks(ROOT / "docs" / "snr.md", "python")
    names = {}
    exec(sources, names)
    assert 1 <= len(names["objects"]) < 30
    exec(lines, names)
    assert names["maps"].snr.shape == (256, 256)
    assert 0.9 < names["result"].snr().record.quality.snr_std.value < 1.1


def test_options_of_the_readme_exist():
    commands = (
        ["run"],
        ["apply"],
        ["snr"],
        ["measure"],
        *(["kernel", name] for name in ("show", "at", "plot", "convert")),
    )
    options = "\n".join(output_of("decorr", *command, "--help") for command in commands)
    for option in set(re.findall(r"`(--[a-z-]+[a-z])", README.read_text())):
        assert option in options, option


def test_links_lead_somewhere():
    for page in (README, ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")):
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.relative_to(ROOT)}: {link}"


def test_ten_lines_of_the_documentation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example in docs/formats.md writes a kernel that the command takes."""
    (lines,) = code_blocks(ROOT / "docs" / "formats.md", "python")
    assert len([line for line in lines.splitlines() if line]) <= 10
    make_inputs(tmp_path)
    (tmp_path / "write.py").write_text(lines)
    monkeypatch.chdir(tmp_path)
    names = runpy.run_path("write.py")
    matching = read_kernel("kernel.fits")
    assert matching.convolved == ("template",)
    x, y = 400, 1800
    u, v = (x - 1023.5) / 1024, (y - 1023.5) / 1024
    expected = sum(c * u**a * v**b for (a, b), c in names["coefficients"].items())
    np.testing.assert_allclose(matching.kernel.at(x, y), expected, rtol=0, atol=1e-15)
    succeed(tmp_path, "run", *INPUTS)


@pytest.mark.parametrize("degree", [0, 1, 3])
def test_lines_that_convert_a_kernel_of_ois(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, degree: int) -> None:
    """Every pixel of the kernel a polynomial of the pixel of the image, as its convolution evaluates them."""
    lines, _ = code_blocks(ROOT / "docs" / "kernels.md", "python")
    assert len([line for line in lines.splitlines() if line and "import" not in line]) <= 10
    rng = np.random.default_rng(degree)
    terms = (degree + 1) * (degree + 2) // 2
    kernel = rng.normal(size=(5, 7, terms))
    monkeypatch.chdir(tmp_path)
    exec(lines, {"kernel": kernel[:, :, 0] if degree == 0 else kernel})
    matching = read_kernel("kernel.fits")
    assert (matching.convolved, matching.normalized, matching.parent_frame) == (("template",), (False,), False)
    x, y = 31, 7
    expected = np.zeros((5, 7))
    number = 0
    for exp_x in range(degree + 1):
        for exp_y in range(degree - exp_x + 1):
            expected += kernel[:, :, number] * float(x) ** exp_x * float(y) ** exp_y
            number += 1
    np.testing.assert_allclose(matching.kernel.at(x, y), expected, rtol=1e-12)


def test_lines_that_write_kernels_at_positions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, lines = code_blocks(ROOT / "docs" / "kernels.md", "python")
    images = np.random.default_rng(5).normal(0.1, 1, (4, 5, 5))
    monkeypatch.chdir(tmp_path)
    exec(lines, {"images": images, "x": [20, 60, 20, 60], "y": [15, 15, 45, 45]})
    kernel = read_kernel("kernel.fits").kernel
    np.testing.assert_allclose(kernel.at(60, 15), images[1], atol=1e-12)
    np.testing.assert_allclose(kernel.at(40, 30), images.mean(axis=0), atol=1e-12)
