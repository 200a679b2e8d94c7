"""The output: what is in it, that it is sound FITS, that it appears whole or not at all, and what is printed."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning
from command import COMMAND, ENVIRONMENT, INPUTS, PLANES, SHAPE, decorr, listing, make_inputs, quickly
from diffim_decorr.io.drafts import move

import diffim_decorr
from diffim_decorr import InputError
from diffim_decorr.io.checksum import add_words, checksum_string, fold, set_checksum
from diffim_decorr.io.output import check_output, default_output

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
OUT = ("-o", "out.fits")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Inputs, and what is made of them."""
    folder = tmp_path_factory.mktemp("good")
    make_inputs(folder)
    for name, options in (("constant", ()), ("spatial", ("--spatial",)), ("packed", ()), ("zipped", ())):
        ending = {"packed": ".fz", "zipped": ".gz"}.get(name, "")
        args = (*INPUTS, "--psf", "psf.fits", "--json", *options, "-o", f"made/{name}.fits{ending}")
        (folder / "made").mkdir(exist_ok=True)
        done = quickly(folder, "run", *args)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        (folder / f"{name}.json").write_text(done.stdout)
    return folder


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    for name in ("sci", "tmpl", "diff", "kernel", "psf"):
        shutil.copy(good / f"{name}.fits", tmp_path)
    return tmp_path


@pytest.fixture(params=["constant.fits", "spatial.fits", "packed.fits.fz", "zipped.fits.gz"])
def made(good: Path, request: pytest.FixtureRequest) -> Path:
    return good / "made" / request.param


def succeed(folder: Path, *args: str, run: Any = quickly) -> subprocess.CompletedProcess[str]:
    done = run(folder, "run", *INPUTS, *args)
    assert done.returncode == 0, done.stderr
    return done


# What is in it


def test_hdus(made: Path) -> None:
    with fits.open(made) as hdus:
        assert [hdu.name for hdu in hdus] == [
            "PRIMARY", "IMAGE", "MASK", "VARIANCE", "PSI_BASIS", "PSI_COEFFS", "PSF", "QA",
        ]  # fmt: skip
        assert hdus[0].data is None
        for name, bitpix, kind in (("IMAGE", -32, "f4"), ("MASK", 32, "i4"), ("VARIANCE", -32, "f4")):
            assert hdus[name].header["BITPIX"] == bitpix
            assert hdus[name].data.dtype.newbyteorder("=") == np.dtype(kind)
            assert hdus[name].data.shape == SHAPE
            assert hdus[name].header["EXTTYPE"] == name
        assert hdus["PSI_BASIS"].data.ndim == 3
        assert len(hdus["PSI_BASIS"].data) == hdus["PSI_COEFFS"].header["NBASIS"] == hdus[0].header["DCMODES"]
        assert hdus["PSF"].data.ndim == 2
        assert hdus["QA"].data.shape == (4, 11, 11)
        np.testing.assert_allclose(hdus["QA"].data[:, 5, 5], 1, rtol=1e-6)
        assert hdus["IMAGE"].header["BUNIT"] == "adu"
        assert hdus["VARIANCE"].header["BUNIT"] == "(adu)**2"


def test_mask_planes(good: Path, made: Path) -> None:
    with fits.open(made) as hdus, fits.open(good / "sci.fits") as inputs:
        header, mask = hdus["MASK"].header, hdus["MASK"].data
        planes = {key[3:]: value for key, value in header.items() if key.startswith("MP_")}
        assert {name: planes[name] for name in PLANES} == PLANES
        assert "DECORR_BAD" in planes
        assert len(set(planes.values())) == len(planes)
        assert ((mask & inputs["MASK"].data) == inputs["MASK"].data).all()
        # The difference's missing pixel.
        assert mask[10, 12] >> PLANES["NO_DATA"] & 1
        assert np.isnan(hdus["IMAGE"].data[10, 12])
        assert np.isnan(hdus["VARIANCE"].data[10, 12])
        assert np.isnan(hdus["IMAGE"].data).sum() == 1


def test_wcs_is_kept(good: Path, made: Path) -> None:
    before = WCS(fits.getheader(good / "diff.fits"))
    x, y = np.array([0.0, 95, 13.5]), np.array([0.0, 79, 60.2])
    with fits.open(made) as hdus:
        for name in ("PRIMARY", "IMAGE", "MASK", "VARIANCE"):
            with warnings.catch_warnings():
                # astropy remarks that a primary header without pixels has a WCS.
                warnings.simplefilter("ignore", FITSFixedWarning)
                after = WCS(hdus[name].header)
            assert after.naxis == 2
            np.testing.assert_array_equal(after.all_pix2world(x, y, 0), before.all_pix2world(x, y, 0))
            assert after.wcs.radesys == "ICRS"


def test_header_of_the_difference_is_kept(made: Path) -> None:
    header = fits.getheader(made)
    assert header["OBJECT"] == "field 7"
    assert header.comments["OBJECT"] == "what was observed"
    assert header["MJD-OBS"] == 60100.25
    assert list(header["HISTORY"]) == ["made for a test", f"noise decorrelated by decorr {diffim_decorr.__version__}"]


def test_provenance(good: Path, made: Path) -> None:
    said = json.loads((good / f"{made.name.split('.')[0]}.json").read_text())
    header = fits.getheader(made)
    expected = {
        "DCVERS": diffim_decorr.__version__,
        "DCSCI": "sci.fits",
        "DCTMPL": "tmpl.fits",
        "DCDIFF": "diff.fits",
        "DCKERNEL": "kernel.fits",
        "DCPSF": "psf.fits",
        "DCKFORM": "image",
        "DCCONV": "template",
        "DCMODE": said["mode"],
        "DCNOISE": "white",
        "DCVPROP": "full",
        "DCSVAR": said["noise"]["svar"],
        "DCTVAR": said["noise"]["tvar"],
        "DCSGIVEN": False,
        "DCTGIVEN": False,
        "DCNSPACE": 256.0,
        "DCTOLER": 1e-3,
        "DCMXGAIN": 1e4,
        "DCBADFRC": 0.01,
        "DCBADPL": "INTRP,EDGE,DETECTED,SAT,CR,BAD,NO_DATA,DETECTED_NEGATIVE",
        "DCREPPL": "NO_DATA,SAT,CR,BAD",
        "DCHWIDTH": said["psi"]["half_width"],
        "DCMODES": said["psi"]["modes"],
        "DCRHO0": said["qa"]["max_abs_rho_before"],
        "DCRHO1": said["qa"]["max_abs_rho_after"],
        "DCSNRSTD": said["qa"]["snr_std"],
        "DCNPIX": said["qa"]["pixels_used"],
    }
    for card, value in expected.items():
        assert header[card] == (pytest.approx(value, rel=1e-12) if isinstance(value, float) else value), card
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", header["DCDATE"])
    assert header["DCSVAR"] == pytest.approx(4)
    assert header["DCTVAR"] == pytest.approx(2.25)


def test_kernel_of_the_science_image_in_the_header(folder: Path) -> None:
    succeed(folder, "--pre-conv-kernel", "psf.fits[0]", *OUT)
    assert fits.getheader(folder / "out.fits")["DCPRECON"] == "psf.fits[0]"
    sound(folder / "out.fits")


def test_options_in_the_header(folder: Path) -> None:
    fits.writeto(folder / "variance.fits", np.full(SHAPE, 2.25, "f4"))
    options = ("--svar", "4.5", "--convolved", "science", "--variance", "estimate", "--kernel-at", "3", "4.5")
    options += ("--replace-planes", "none", "--bad-planes", "SAT", "--tmpl-variance", "variance.fits[0]")
    succeed(folder, *options, *OUT)
    header = fits.getheader(folder / "out.fits")
    assert header["DCSVAR"] == pytest.approx(4.5)
    assert header["DCSGIVEN"] is True
    assert header["DCCONV"] == "science"
    assert header["DCVPROP"] == "estimate"
    assert (header["DCKATX"], header["DCKATY"]) == (3, 4.5)
    assert (header["DCREPPL"], header["DCBADPL"]) == ("none", "SAT")
    assert header["DCTMPVAR"] == "variance.fits[0]"


# Sound FITS


def sound(path: Path) -> None:
    """What fitscheck checks, and that the headers keep to the standard."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fits.open(path, checksum=True, disable_image_compression=True) as hdus:
            for hdu in hdus:
                assert "CHECKSUM" in hdu.header
                assert "DATASUM" in hdu.header
                assert hdu.verify_checksum() == 1
                assert hdu.verify_datasum() == 1
                hdu.verify("exception")
        with fits.open(path) as hdus:
            for hdu in hdus:
                assert hdu.data is None or hdu.data.size


def verified(path: Path) -> None:
    """fitsverify has nothing to say."""
    command = shutil.which("fitsverify")
    if command is None:
        pytest.skip("there is no fitsverify")
    done = subprocess.run([command, path], capture_output=True, text=True, check=False)
    assert "Verification found 0 warning(s) and 0 error(s)" in done.stdout, done.stdout
    assert done.returncode == 0


def test_checksums(made: Path) -> None:
    sound(made)


def test_fitsverify(made: Path) -> None:
    verified(made)


STRANGE = {
    "long string": ("LONG", 40 * "many words".ljust(11) + "end"),
    "HIERARCH": ("HIERARCH ESO DET OUT1 GAIN", 1.5),
    "alternative WCS": ("CRVAL1A", 7.0),
    "SIP": ("A_ORDER", 2),
    "TNX": ("WAT1_001", "wtype=tnx axtype=ra"),
    "lookup tables of another file": ("CPDIS1", "LOOKUP"),
    "compressed": ("ZIMAGE", True),
    "version of another HDU": ("EXTVER", 7),
    "checksum of other pixels": ("DATASUM", "12345"),
    "card of an earlier run": ("DCSVAR", -5.0),
    "range of other pixels": ("DATAMAX", 1e4),
}


@pytest.mark.parametrize("case", STRANGE)
def test_strange_headers(folder: Path, case: str) -> None:
    key, value = STRANGE[case]
    with fits.open(folder / "diff.fits", mode="update") as hdus:
        hdus[0].header[key] = value
    succeed(folder, *OUT)
    sound(folder / "out.fits")
    verified(folder / "out.fits")
    header = fits.getheader(folder / "out.fits")
    kept = case in ("long string", "HIERARCH", "alternative WCS", "SIP", "TNX")
    if case == "HIERARCH":
        key = key.removeprefix("HIERARCH ")
    assert (header.get(key) == value) == kept
    if case == "long string":
        assert header["LONGSTRN"]
    if case == "card of an earlier run":
        assert header["DCSVAR"] == pytest.approx(4)


def spoil_card(path: Path, keyword: str, text: bytes) -> None:
    content = path.read_bytes()
    begin = content.index(keyword.ljust(8).encode() + b"=")
    path.write_bytes(content[:begin] + text.ljust(80) + content[begin + 80 :])


@pytest.mark.parametrize(
    "text",
    [
        b"B@NIT   = 'adu'",
        b"BUNIT   = \xff\xfe",
        b"BUNIT   = adu",
        b"BUNIT   = 'adu",
        b"OBJECT  = 'another'",
        b"bunit   = 'adu'",
        b"BUNIT     'adu'",
    ],
)
def test_cards_that_break_the_standard(folder: Path, text: bytes) -> None:
    spoil_card(folder / "diff.fits", "BUNIT", text)
    done = succeed(folder, *OUT)
    assert done.stderr == ""
    sound(folder / "out.fits")
    verified(folder / "out.fits")
    assert fits.getheader(folder / "out.fits")["OBJECT"] == "field 7"


def test_names_that_do_not_fit_into_cards(folder: Path) -> None:
    name = "nacht-größe-" + 80 * "x" + "\n[red].fits"
    os.rename(folder / "sci.fits", folder / name)
    done = decorr(folder, "run", name, *INPUTS[1:], "-o", "aus[red]é.fits")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.splitlines()[0].split(maxsplit=1) == ["output", "aus[red]é.fits"]
    out = folder / "out.fits"
    os.rename(folder / "aus[red]é.fits", out)
    sound(out)
    verified(out)
    assert fits.getheader(out)["DCSCI"] == name.replace("\n", "\\n").replace("ö", "\\xf6").replace("ß", "\\xdf")


def test_image_in_an_extension_with_leading_axes(folder: Path) -> None:
    with fits.open(folder / "diff.fits") as hdus:
        header = hdus[0].header
        header.update({"CTYPE3": "FREQ", "CRPIX3": 1.0, "CRVAL3": 1.4e9, "CDELT3": 1e6, "CUNIT3": "Hz"})
        cube = fits.ImageHDU(hdus[0].data[None], header, name="SCI")
        fits.HDUList([fits.PrimaryHDU(header=fits.Header([("OBSERVER", "Leavitt")])), cube]).writeto(
            folder / "new.fits"
        )
    os.replace(folder / "new.fits", folder / "diff.fits")
    succeed(folder, *OUT)
    sound(folder / "out.fits")
    verified(folder / "out.fits")
    assert fits.getheader(folder / "out.fits")["OBSERVER"] == "Leavitt"
    celestial = WCS(fits.getheader(folder / "out.fits", "IMAGE")).celestial
    assert celestial.all_pix2world(47.5, 39.5, 0) == pytest.approx((150.1, 2.2))


@pytest.mark.skipif(not (DATA / "lsst_parity").is_dir(), reason="the data folder shared/data/lsst_parity is absent")
def test_lsst_exposures(tmp_path: Path) -> None:
    data = DATA / "lsst_parity"
    images = [data / name for name in ("science.fits", "template.fits", "diff_template_convolved.fits")]
    done = quickly(tmp_path, "run", *images, "--kernel", data / "kernel.fits", "-v", *OUT)
    assert (done.returncode, done.stderr) == (0, "")
    sound(tmp_path / "out.fits")
    verified(tmp_path / "out.fits")
    reading = re.search(r"read (\d+\.\d+)", done.stdout)
    assert reading is not None
    assert float(reading.group(1)) < 0.5


@pytest.mark.skipif(not (DATA / "jwst_a2744").is_dir(), reason="the data folder shared/data/jwst_a2744 is absent")
def test_header_of_a_space_telescope(tmp_path: Path) -> None:
    data = DATA / "jwst_a2744"
    noise = ("--sci-noise", data / "sci_noise.fits", "--tmpl-noise", data / "tmpl_noise.fits")
    images = [data / name for name in ("sci.fits", "tmpl.fits", "hotpants_diff.fits")]
    done = quickly(tmp_path, "run", *images, "--kernel", data / "hotpants_diff.fits", *noise, *OUT)
    assert done.returncode == 0, done.stderr
    sound(tmp_path / "out.fits")
    verified(tmp_path / "out.fits")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        before, after = (WCS(fits.getheader(f)) for f in (images[2], tmp_path / "out.fits"))
    np.testing.assert_array_equal(after.all_pix2world(3, 700, 0), before.all_pix2world(3, 700, 0))


def test_kernel_and_psf_that_vary(tmp_path: Path) -> None:
    done = quickly(tmp_path, "simulate", "sim", "--size", "200", "--kernel-width", "13", "--stars", "0", "-q")
    assert done.returncode == 0, done.stderr
    names = [f"sim/{name}.fits" for name in ("sci", "tmpl", "diff")]
    options = ("--kernel", "sim/kernel.fits", "--psf", "sim/sci_psf.fits", "--spatial")
    done = quickly(tmp_path, "run", *names, *options, *OUT)
    assert done.returncode == 0, done.stderr
    sound(tmp_path / "out.fits")
    verified(tmp_path / "out.fits")
    with fits.open(tmp_path / "out.fits") as hdus:
        count = hdus[0].header["DCMODES"]
        assert count > 1
        table = hdus["PSI_COEFFS"].data
        assert len(hdus["PSI_BASIS"].data) == count
        # psi at the first knot of the first piece, which keeps fluxes.
        nx, ny = table["NX"][0], table["NY"][0]
        values = table["VALUES"][0][: count * ny * nx].reshape(count, ny, nx)
        psi = np.tensordot(values[:, 0, 0], hdus["PSI_BASIS"].data, 1)
        assert psi.sum() == pytest.approx(1, abs=1e-3)
        assert len(hdus["PSF"].data) == len(hdus["PSF_POSITIONS"].data) > 1
        np.testing.assert_allclose(hdus["PSF"].data.sum(axis=(1, 2)), 1, atol=1e-3)


# Compression, names, repetition


def planes(path: Path) -> Iterator[np.ndarray]:
    with fits.open(path) as hdus:
        for hdu in hdus[1:]:
            if hdu.is_image:
                yield hdu.data.copy()


@pytest.mark.parametrize("name", ["packed.fits.fz", "zipped.fits.gz"])
def test_compression_loses_nothing(good: Path, name: str) -> None:
    for plain, packed in zip(planes(good / "made" / "constant.fits"), planes(good / "made" / name), strict=True):
        assert plain.tobytes() == packed.astype(plain.dtype).tobytes()
    with fits.open(good / "made" / "packed.fits.fz", disable_image_compression=True) as hdus:
        assert [hdus[k].header["ZCMPTYPE"] for k in (1, 2, 3)] == ["GZIP_2", "RICE_1", "GZIP_2"]
    assert (good / "made" / "zipped.fits.gz").read_bytes()[:2] == b"\x1f\x8b"
    assert gzip.decompress((good / "made" / "zipped.fits.gz").read_bytes())[:6] == b"SIMPLE"


def test_outputs_can_be_read_back(made: Path) -> None:
    exposure = diffim_decorr.read_exposure(made)
    image, mask, variance, *_ = planes(made)
    np.testing.assert_array_equal(exposure.image, image)
    np.testing.assert_array_equal(exposure.mask, mask)
    np.testing.assert_array_equal(exposure.variance, variance)
    assert exposure.psf is not None


@pytest.mark.parametrize(
    ("difference", "output"),
    [
        ("diff.fits", "diff_decorr.fits"),
        ("diff.fit", "diff_decorr.fit"),
        ("DIFF.FTS", "DIFF_decorr.FTS"),
        ("diff.fits.gz", "diff_decorr.fits.gz"),
        ("diff.fits.fz", "diff_decorr.fits.fz"),
        ("night.1/diff.fits", "night.1/diff_decorr.fits"),
        ("night.1/diff", "night.1/diff_decorr.fits"),
        ("v1.2.diff.fits", "v1.2.diff_decorr.fits"),
        ("diff.img", "diff_decorr.img"),
        ("diff", "diff_decorr.fits"),
    ],
)
def test_default_name(difference: str, output: str) -> None:
    assert default_output(difference) == output


def test_default_output(folder: Path) -> None:
    assert succeed(folder).stdout.splitlines()[0].split() == ["output", "diff_decorr.fits"]
    assert (folder / "diff_decorr.fits").is_file()
    packed = gzip.compress((folder / "diff.fits").read_bytes())
    (folder / "diff.fits.gz").write_bytes(packed)
    done = quickly(folder, "run", "sci.fits", "tmpl.fits", "diff.fits.gz[0]", *INPUTS[3:], "--json")
    assert json.loads(done.stdout)["output"] == "diff_decorr.fits.gz"
    for one, other in zip(planes(folder / "diff_decorr.fits"), planes(folder / "diff_decorr.fits.gz"), strict=True):
        assert one.tobytes() == other.tobytes()


def test_overwrite(folder: Path) -> None:
    out = folder / "out.fits"
    out.write_text("precious")
    assert quickly(folder, "run", *INPUTS, *OUT).returncode == 3
    assert out.read_text() == "precious"
    inode = out.stat().st_ino
    kept = folder / "kept.fits"
    kept.hardlink_to(out)
    succeed(folder, *OUT, "--overwrite")
    sound(out)
    assert out.stat().st_ino != inode
    assert kept.read_text() == "precious"


def test_overwriting_a_link_leaves_what_it_points_to(folder: Path) -> None:
    (folder / "archive.fits").write_text("precious")
    (folder / "out.fits").symlink_to("archive.fits")
    succeed(folder, *OUT, "--overwrite")
    assert (folder / "archive.fits").read_text() == "precious"
    assert not (folder / "out.fits").is_symlink()


def test_permissions_are_those_of_any_new_file(folder: Path) -> None:
    (folder / "other").touch()
    succeed(folder, *OUT)
    assert (folder / "out.fits").stat().st_mode == (folder / "other").stat().st_mode


def test_two_runs_are_the_same_but_for_their_dates(folder: Path) -> None:
    contents = []
    for threads in ("1", "2"):
        succeed(folder, "--spatial", "--psf", "psf.fits", "--threads", threads, "-q", *OUT, "--overwrite")
        contents.append((folder / "out.fits").read_bytes())
    one, other = (
        re.sub(rb"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d|CHECKSUM= '[^']{16}'", b"", content) for content in contents
    )
    assert one == other


def test_inputs_are_not_touched(folder: Path) -> None:
    before = listing(folder)
    succeed(folder, *OUT)
    after = listing(folder)
    assert after.pop("out.fits")
    assert after == before


# Whole or not at all


def interrupted(folder: Path, where: str, what: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run the command with something going wrong after a step of the output file."""
    script = f"""
import os, signal
from diffim_decorr.io import drafts, output
owner, name = {where}
real = getattr(owner, name)
def spoilt(*args, **keywords):
    result = real(*args, **keywords)
    {what}
    return result
setattr(owner, name, spoilt)
from diffim_decorr.cli import main
main()
"""
    line = [sys.executable, "-c", script, "run", *INPUTS, *args]
    return subprocess.run(line, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False)


STEPS = {
    "created": '(output.OutputFile, "_reserve")',
    "pixels": '(output.OutputFile, "write")',
    "finished": '(output.OutputFile, "finish")',
    "packing": '(drafts, "_compressed")',
    "zipping": '(drafts.shutil, "copyfileobj")',
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_ended_in_the_middle(folder: Path, name: str, step: str) -> None:
    out = "out.fits.gz" if step == "zipping" else "out.fits.fz"
    (folder / out).write_text("precious")
    before = listing(folder)
    done = interrupted(folder, STEPS[step], f"os.kill(os.getpid(), signal.{name})", "-o", out, "--overwrite")
    assert done.returncode == 128 + getattr(signal, name)
    assert done.stdout == ""
    assert done.stderr.strip() == ("decorr: interrupted" if name == "SIGINT" else "")
    assert listing(folder) == before


def test_hangup_that_is_ignored(folder: Path) -> None:
    # As under nohup.
    step = "[signal.signal(signal.SIGHUP, signal.SIG_IGN), " + STEPS["pixels"] + "][1]"
    done = interrupted(folder, step, "os.kill(os.getpid(), signal.SIGHUP)", *OUT)
    assert (done.returncode, done.stderr) == (0, "")
    sound(folder / "out.fits")


def test_killed_in_the_middle(folder: Path) -> None:
    before = listing(folder)
    done = interrupted(folder, STEPS["finished"], "os.kill(os.getpid(), signal.SIGKILL)", *OUT)
    assert done.returncode == -signal.SIGKILL
    after = listing(folder)
    assert "out.fits" not in after
    left = [name for name in after if name not in before]
    assert [name for name in left if not name.startswith(".decorr-")] == []
    assert {name: after[name] for name in before} == before
    succeed(folder, *OUT)


def test_a_second_signal_does_not_stop_the_cleaning(folder: Path) -> None:
    before = listing(folder)
    twice = "[os.kill(os.getpid(), signal.SIGTERM) for _ in 'ab']"
    spoil = f"os.unlink, real_unlink = (lambda p: ({twice}, real_unlink(p))), os.unlink"
    done = interrupted(
        folder, STEPS["pixels"], f"real_unlink = None; {spoil}; {twice}".replace("real_unlink = None; ", ""), *OUT
    )
    assert done.returncode == 128 + signal.SIGTERM
    assert listing(folder) == before


@pytest.mark.parametrize("out", ["out.fits", "out.fits.fz", "out.fits.gz"])
@pytest.mark.parametrize("step", ["created", "finished"])
def test_full_disk(folder: Path, step: str, out: str) -> None:
    before = listing(folder)
    full = "exec('raise OSError(28, \"No space left on device\")')"
    done = interrupted(folder, STEPS[step], full, "-o", out)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "No space left on device" in done.stderr
    assert listing(folder) == before


@pytest.mark.parametrize("out", ["out.fits", "out.fits.gz"])
def test_file_that_may_not_grow(folder: Path, out: str) -> None:
    resource = pytest.importorskip("resource")
    (folder / out).write_text("precious")
    before = listing(folder)
    limit = (50_000, 50_000)
    # What measures the coverage would write files, too.
    environment = {key: value for key, value in ENVIRONMENT.items() if not key.startswith("COV")}
    done = decorr(
        folder, "run", *INPUTS, "-o", out, "--overwrite", env=environment,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == f"decorr: failed: OSError: {out}: File too large (DECORR_TRACEBACK=1 shows where)\n"
    assert listing(folder) == before


def test_traceback_for_those_who_want_it(folder: Path) -> None:
    line = [*COMMAND, "run", *INPUTS, *OUT]
    script = (
        "import diffim_decorr.io.output as o; o.OutputFile.write = None; from diffim_decorr.cli import main; main()"
    )
    line[1:3] = ["-c", script]
    environment = {**ENVIRONMENT, "DECORR_TRACEBACK": "1"}
    done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert not (folder / "out.fits").exists()


def test_output_that_appears_in_the_meantime(folder: Path) -> None:
    appear = "os.system('printf precious > out.fits')"
    done = interrupted(folder, STEPS["finished"], appear, *OUT)
    assert done.returncode == 3
    assert done.stderr == "decorr: error: out.fits: the output exists already; --overwrite replaces it\n"
    assert (folder / "out.fits").read_text() == "precious"
    assert not [name for name in listing(folder) if name.startswith(".")]


def test_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: Any) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", no_links)
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_text("new")
    move(str(source), str(target), overwrite=False)
    assert target.read_text() == "new"
    source.write_text("newer")
    with pytest.raises(InputError, match="exists already"):
        move(str(source), str(target), overwrite=False)
    assert target.read_text() == "new"


@pytest.mark.parametrize("error", ["EOPNOTSUPP", "ENOSPC"])
def test_file_system_that_does_not_reserve(folder: Path, error: str) -> None:
    script = f"""
import errno, os
def refuse(*args):
    raise OSError(errno.{error}, "no")
os.posix_fallocate = refuse
from diffim_decorr.cli import main
main()
"""
    line = [sys.executable, "-c", script, "run", *INPUTS, *OUT]
    done = subprocess.run(line, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    if error == "ENOSPC":
        assert (done.returncode, done.stderr.split(" (")[0]) == (1, "decorr: failed: OSError: out.fits: no")
        assert not [name for name in listing(folder) if "out" in name or name.startswith(".")]
    else:
        assert (done.returncode, done.stderr) == (0, "")
        sound(folder / "out.fits")


def test_check_output_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_output(str(tmp_path / "new.fits"), [], overwrite=False)
    (tmp_path / "old.fits").touch()
    check_output(str(tmp_path / "old.fits"), [str(tmp_path / "none.fits")], overwrite=True)
    with pytest.raises(InputError, match="--overwrite replaces it"):
        check_output(str(tmp_path / "old.fits"), [], overwrite=False)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InputError, match="cannot be written to"):
        check_output(str(tmp_path / "new.fits"), [], overwrite=False)


# What is printed


def test_json(good: Path) -> None:
    for mode in ("constant", "spatial"):
        said = json.loads((good / f"{mode}.json").read_text())
        assert {"output", "mode", "noise", "psi", "qa", "timings", "warnings"} <= set(said)
        assert said["output"] == f"made/{mode}.fits"
        assert said["mode"] == mode
        assert {"svar", "tvar", "model"} <= set(said["noise"])
        assert said["noise"]["model"] == "white"
        assert {"half_width", "modes", "energy_lost", "frequencies_limited"} <= set(said["psi"])
        assert isinstance(said["psi"]["half_width"], int)
        assert isinstance(said["psi"]["modes"], int)
        assert {"max_abs_rho_before", "max_abs_rho_after", "snr_std", "pixels_used"} <= set(said["qa"])
        assert isinstance(said["qa"]["pixels_used"], int)
        assert said["warnings"] == []
        stages = {stage: seconds for stage, seconds in said["timings"].items() if stage != "total"}
        assert {"read", "noise", "psi", "filter", "qa"} <= set(stages)
        assert all(isinstance(seconds, float) and seconds >= 0 for seconds in stages.values())
        assert sum(stages.values()) <= said["timings"]["total"] + 0.01


def crowd(folder: Path) -> None:
    """Leave no source-free pixels."""
    with fits.open(folder / "sci.fits", mode="update") as hdus:
        hdus["MASK"].data[:78] |= 1 << PLANES["DETECTED"]


def test_json_of_what_could_not_be_measured(folder: Path) -> None:
    crowd(folder)
    done = succeed(folder, "--json", *OUT)
    said = json.loads(done.stdout)
    assert said["qa"]["max_abs_rho_after"] is None
    assert said["qa"]["snr_std"] is None
    assert len(said["warnings"]) == 1
    assert "source-free pixels" in said["warnings"][0]
    assert done.stderr == f"decorr: warning: {said['warnings'][0]}\n"
    header = fits.getheader(folder / "out.fits")
    assert header["DCRHO1"] == "undefined"
    assert header["DCWARN1"] == said["warnings"][0]
    sound(folder / "out.fits")


def test_table_is_on_standard_output_and_warnings_are_not(folder: Path) -> None:
    crowd(folder)
    done = decorr(folder, "run", *INPUTS, *OUT)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert [re.split(r"\s{2,}", line)[0] for line in lines] == [
        "output", "decorrelation kernel", "background variance", "max_abs_rho", "snr_std", "seconds",
    ]  # fmt: skip
    assert "not measured" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert done.stderr.startswith("decorr: warning: only ")
    assert done.stderr.count("\n") == 1


def test_quiet(folder: Path) -> None:
    crowd(folder)
    done = succeed(folder, "-q", *OUT)
    assert (done.stdout, done.stderr) == ("", "")
    done = succeed(folder, "-q", "--json", *OUT, "--overwrite")
    assert json.loads(done.stdout)["warnings"]
    assert done.stderr == ""
    done = quickly(folder, "run", *INPUTS, "-q", *OUT)
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1


def test_verbose(folder: Path) -> None:
    brief, verbose = (succeed(folder, *options, *OUT, "--overwrite").stdout for options in ((), ("-v",)))
    assert verbose.count("\n") > brief.count("\n")
    for stage in ("read", "noise", "psi", "filter", "qa"):
        assert re.search(rf"{stage} \d+\.\d\d", verbose)
    assert "energy lost" in verbose
    assert "source-free pixels" in verbose


def on_terminal(folder: Path, *args: str) -> tuple[str, int]:
    """What the command shows on a terminal."""
    pty = pytest.importorskip("pty")
    mine, its = pty.openpty()
    environment = {**ENVIRONMENT, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(
        [*COMMAND, "run", *INPUTS, *args], cwd=folder, env=environment, stdin=its, stdout=its, stderr=its
    ) as process:
        os.close(its)
        shown = b""
        while True:
            try:
                part = os.read(mine, 4096)
            except OSError:  # how Linux says that the other side has been closed
                break
            if not part:
                break
            shown += part
        status = process.wait(timeout=60)
    os.close(mine)
    return shown.decode(), status


def test_progress_on_a_terminal(folder: Path) -> None:
    shown, status = on_terminal(folder, "-o", "out[red].fits")
    assert status == 0
    assert "filtering" in shown
    assert "\x1b[" in shown
    assert "out[red].fits" in shown
    assert "max_abs_rho" in shown


def test_no_progress_when_quiet(folder: Path) -> None:
    assert on_terminal(folder, "-q", *OUT) == ("", 0)


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_reader_that_went_away(folder: Path, options: tuple[str, ...]) -> None:
    read, write = os.pipe()
    os.close(read)
    line = [*COMMAND, "run", *INPUTS, *OUT, *options]
    done = subprocess.run(
        line, cwd=folder, env=ENVIRONMENT, stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert done.returncode == 1
    assert done.stderr == ""
    sound(folder / "out.fits")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_standard_output_that_is_full(folder: Path, options: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        line = [*COMMAND, "run", *INPUTS, *OUT, *options]
        done = subprocess.run(
            line, cwd=folder, env=ENVIRONMENT, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr.startswith("decorr: failed: OSError: [Errno 28] No space left on device")
    assert done.stderr.count("\n") == 1
    sound(folder / "out.fits")


# Option files


def test_option_file(folder: Path) -> None:
    (folder / "options.toml").write_text(
        """
kernel = "kernel.fits"
output = "made.fits"
spatial = false
tolerance = 1e-4
svar = 5
"kernel-at" = [10, 20.5]
bad_planes = ["SAT", "CR"]
replace-planes = "none"
variance = "estimate"
quiet = true
psf = "psf.fits"
"""
    )
    done = quickly(folder, "run", *INPUTS[:3], "--config", "options.toml", "--svar", "6", "--bad-planes", "SAT")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    header = fits.getheader(folder / "made.fits")
    assert header["DCTOLER"] == 1e-4
    assert header["DCSVAR"] == pytest.approx(6)
    assert header["DCBADPL"] == "SAT"
    assert header["DCREPPL"] == "none"
    assert header["DCVPROP"] == "estimate"
    assert (header["DCKATX"], header["DCKATY"]) == (10, 20.5)
    assert header["DCPSF"] == "psf.fits"


@pytest.mark.parametrize(
    ("content", "args", "mode"),
    [
        ("spatial = true", (), "spatial"),
        ("constant = false", (), "spatial"),
        ("constant = true", (), "constant"),
        ("spatial = true", ("--constant",), "constant"),
        ("spatial = false", ("--spatial",), "spatial"),
    ],
)
def test_command_line_wins(folder: Path, content: str, args: tuple[str, ...], mode: str) -> None:
    (folder / "options.toml").write_text(content)
    done = succeed(folder, "--config", "options.toml", *args, "--json", *OUT)
    assert json.loads(done.stdout)["mode"] == mode


def test_several_planes_of_an_option_file(folder: Path) -> None:
    (folder / "options.toml").write_text('replace_planes = ["SAT", "CR"]\nbad-planes = []')
    succeed(folder, "--config", "options.toml", *OUT)
    header = fits.getheader(folder / "out.fits")
    assert header["DCREPPL"] == "SAT,CR"
    assert header["DCBADPL"] == ""


# The command


def test_version_and_help(tmp_path: Path) -> None:
    done = decorr(tmp_path, "--version")
    assert (done.returncode, done.stdout) == (0, f"decorr, version {diffim_decorr.__version__}\n")
    for args in (("--help",), ("-h",), ()):
        done = decorr(tmp_path, *args)
        assert "run" in done.stdout + done.stderr
        assert "simulate" in done.stdout + done.stderr
    done = decorr(tmp_path, "run", "--help")
    assert done.returncode == 0
    for option in ("--kernel", "--spatial", "--tolerance", "--config"):
        assert option in done.stdout


def test_commands_are_listed() -> None:
    from diffim_decorr.cli import cli

    assert {"run", "simulate"} <= set(cli.list_commands(None))  # type: ignore[arg-type]


def test_installed_command() -> None:
    command = Path(sys.executable).with_name("decorr")
    if not command.exists():
        pytest.skip("the command is not installed beside this Python")
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith("decorr, version ")


# Checksums


def test_example_of_the_standard() -> None:
    # FITS standard 4.0, J.3: an HDU whose checksum is 868229149.
    assert checksum_string(~868229149 & 0xFFFFFFFF) == "hcHjjc9ghcEghc9g"


def test_encoding_can_be_decoded() -> None:
    rng = np.random.default_rng(3)
    for value in [0, 1, 0xFFFFFFFF, 0x80000000, *map(int, rng.integers(0, 1 << 32, 2000))]:
        text = checksum_string(value)
        assert len(text) == 16
        assert text.isalnum()
        # The characters stand at 16 places of a header card, which begin one byte after a word does.
        words = np.frombuffer((text[1:] + text[0]).encode(), "u1").astype(int).reshape(4, 4) - ord("0")
        assert (words.sum(axis=0) == [value >> 24, value >> 16 & 255, value >> 8 & 255, value & 255]).all()


@pytest.mark.parametrize("dtype", ["f4", "i4"])
@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (40, 37)])
def test_checksums_by_astropy(tmp_path: Path, dtype: str, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        pixels = rng.integers(-(1 << 31), 1 << 31, shape).astype("i4").view(dtype)
        header = fits.PrimaryHDU(np.zeros(shape, dtype)).header
        text = set_checksum(header, fold(add_words(pixels)))
        stored = pixels.astype(pixels.dtype.newbyteorder(">")).tobytes()
        (tmp_path / "a.fits").write_bytes(text + stored + bytes(-len(stored) % 2880))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with fits.open(tmp_path / "a.fits", checksum=True) as hdus:
                assert hdus[0].verify_checksum() == hdus[0].verify_datasum() == 1


def test_sums_add_up() -> None:
    pixels = np.random.default_rng(6).normal(size=(9, 8)).astype("f4")
    assert fold(add_words(pixels)) == fold(sum(add_words(row) for row in pixels))
    assert fold(0) == 0
    assert fold(0xFFFFFFFF) == 0xFFFFFFFF
    assert fold(0x1_0000_0000) == 1
    assert fold(0xFFFFFFFF << 32 | 0xFFFFFFFF) == 0xFFFFFFFF
