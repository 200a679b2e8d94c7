"""Noise that is measured on images of pure noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from scipy.ndimage import gaussian_filter
from scipy.signal import fftconvolve

from diffim_decorr import Contribution, Exposure, InputError, Result, UsageError, apply_psi, decorrelate
from support.command import refused, succeed, told
from support.files import INPUTS, make_inputs, write_exposure
from support.kernels import gaussian
from support.reference import convolved, max_abs_rho
from support.resampling import PAIRS

SIZE = 500
KERNEL = gaussian(13, 1.3)
INNER = np.s_[40:-40, 40:-40]


def resampled(rng: np.random.Generator, by: np.ndarray, count: int = 1) -> list[np.ndarray]:
    """Noise of variance 1 that a kernel has correlated."""
    grown = SIZE + 20
    return [fftconvolve(rng.normal(size=(grown, grown)), by, "same")[10:-10, 10:-10] for _ in range(count)]


def run(pair: str, sky: np.ndarray | float = 0.0, count: int = 1, seed: int = 5, **options: object) -> Result:
    """A difference of two images with the same sky, with realisations of the noise of both."""
    rng = np.random.default_rng(seed)
    images = [resampled(rng, by)[0] for by in PAIRS[pair]]
    noise = [resampled(rng, by, count) for by in PAIRS[pair]]
    difference = images[0] - convolved(images[1], KERNEL)
    skies = (convolved(sky, KERNEL), sky) if isinstance(sky, np.ndarray) else (sky, sky)
    inputs = [
        Exposure(image + own, 1.0, name=name)
        for image, own, name in zip(images, skies, ("science", "template"), strict=True)
    ]
    options = {"threads": 1, "science_noise_images": noise[0], "template_noise_images": noise[1], **options}
    return decorrelate(*inputs, Exposure(difference, name="difference"), KERNEL, **options)


def judged(result: Result, pair: str, seed: int = 77) -> tuple[float, float]:
    """Largest correlation and scatter over the variance of fresh noise, without any source, after the same filter."""
    rng = np.random.default_rng(seed)
    science, template = (resampled(rng, by)[0] for by in PAIRS[pair])
    fresh = apply_psi(Exposure(science - convolved(template, KERNEL)), result.decorrelation_kernel).image[INNER]
    variance = np.median(result.exposure.variance[INNER])
    return max_abs_rho(fresh), float(fresh.std() / np.sqrt(variance))


@pytest.mark.parametrize("pair", PAIRS)
def test_the_noise_is_whitened(pair: str) -> None:
    result = run(pair)
    assert result.record.noise is not None
    assert [image.measured_on for image in result.record.noise.images] == ["noise images"] * 2
    assert result.record.noise.calibration is None
    rho, scatter = judged(result, pair)
    # Correlation functions are measured on as many pixels as ψ is judged on: both have errors of 1/√N at each lag.
    assert rho < 4.5 * np.sqrt(2) / (SIZE - 80) + 0.01
    assert scatter == pytest.approx(1, abs=0.02)


def test_sources_are_not_in_the_way() -> None:
    """A field where measuring on the images themselves cannot be."""
    pair = "bilinear and drizzled"
    rng = np.random.default_rng(6)
    sky = np.zeros((SIZE, SIZE))
    sky[tuple(rng.integers(0, SIZE, (2, 12000)))] = 10 ** rng.uniform(1.5, 4, 12000)
    sky = gaussian_filter(sky, 1.3)
    rho, scatter = judged(run(pair, sky, noise="measured"), pair)
    assert rho < 0.03
    assert scatter == pytest.approx(1, abs=0.02)
    alone = run(pair, sky, noise="measured", science_noise_images=(), template_noise_images=())
    assert alone.record.noise.source == "difference"


def test_several_realisations_count_together() -> None:
    pair = "Lanczos and Gaussian"
    one, four = run(pair).record.noise, run(pair, count=4).record.noise
    assert one is not None
    assert four is not None
    assert [image.pixels for image in four.images] == [4 * image.pixels for image in one.images]
    for image, by in zip(four.images, PAIRS[pair], strict=True):
        truth = np.delete(fftconvolve(by, by[::-1, ::-1]).ravel(), fftconvolve(by, by).size // 2)
        assert image.max_abs_rho == pytest.approx(np.abs(truth).max(), abs=4 / np.sqrt(image.pixels))


def test_of_one_side_only() -> None:
    """The other is what --noise says: white, as it is here."""
    pair = "white and half a pixel bilinear"
    result = run(pair, science_noise_images=())
    assert result.record.noise is not None
    assert [image.side for image in result.record.noise.images] == ["template"]
    rho, scatter = judged(result, pair)
    assert rho < 4.5 * np.sqrt(2) / (SIZE - 80) + 0.01
    assert scatter == pytest.approx(1, abs=0.02)


def test_the_plane_tells_where_there_is_more_noise() -> None:
    """The realisation has the depth of the image, and the plane is scaled to it where it is at its background."""
    rng = np.random.default_rng(8)
    by = PAIRS["bilinear and drizzled"][1]
    depth = np.where(np.arange(SIZE) < 200, 1.0, 9.0) * np.ones((SIZE, 1))
    science = rng.normal(size=(SIZE, SIZE))
    template, noise = (image * np.sqrt(depth) for image in resampled(rng, by, 2))
    difference = science - convolved(template, KERNEL)
    result = decorrelate(
        Exposure(science, 1.0), Exposure(template, 2 * depth), Exposure(difference), KERNEL,
        template_noise_images=[noise], spatial=True, threads=1,
    )  # fmt: skip
    assert result.record.noise is not None
    assert result.record.noise.images[0].variance_factor == pytest.approx(0.5, rel=0.02)
    assert result.warnings == []
    assert result.qa.snr_std == pytest.approx(1, abs=0.01)


def images(rng: np.random.Generator) -> dict[str, np.ndarray]:
    science, template = rng.normal(size=(2, SIZE, SIZE))
    return {"science": science, "template": template, "difference": science - convolved(template, KERNEL)}


def given(noise: np.ndarray | list[Exposure], **more: object) -> Result:
    """A run on white images with these for the noise of the template."""
    own = images(np.random.default_rng(9))
    listed = [Exposure(noise, name="noise")] if isinstance(noise, np.ndarray) else noise
    science, template = (Exposure(own[name], 1.0, name=name) for name in ("science", "template"))
    return decorrelate(science, template, Exposure(own["difference"], name="difference"), KERNEL,
        template_noise_images=listed, threads=1, **more)  # fmt: skip


def test_noise_that_varies_is_followed_in_realisations() -> None:
    """Smooth on the right, white on the left: half of what one correlation function leaves in cells, or less."""
    share = np.linspace(0, 1, SIZE)

    def blended(rng: np.random.Generator) -> np.ndarray:
        smooth = gaussian_filter(rng.standard_normal((SIZE, SIZE)), 0.7, mode="wrap")
        return np.sqrt(1 - share) * rng.standard_normal((SIZE, SIZE)) + np.sqrt(share) * smooth / smooth.std()

    rng = np.random.default_rng(8)
    science, template = blended(rng), 0.5 * rng.standard_normal((SIZE, SIZE))
    images = Exposure(science, 1.0), Exposure(template, 0.25), Exposure(science - convolved(template, KERNEL))
    noise = {
        "science_noise_images": [blended(rng), blended(rng)],
        "template_noise_images": [0.5 * rng.standard_normal((SIZE, SIZE))],
    }
    left = []
    for model in ("measured", "local"):
        result = decorrelate(*images, KERNEL, noise=model, spatial=True, threads=1, **noise)
        assert "noise images" in {image.measured_on for image in result.record.noise.images}
        fresh = blended(rng) - convolved(0.5 * rng.standard_normal((SIZE, SIZE)), KERNEL)
        image = apply_psi(Exposure(fresh), result.decorrelation_kernel, threads=1).image
        left.append(max(max_abs_rho(image[40:-40, x : x + 120]) for x in (40, 340)))
    # Of cells of 420 × 120 pixels white noise has 0.012.
    assert left[0] > 0.08
    assert left[1] < left[0] / 2


def test_what_is_no_realisation_is_refused() -> None:
    own = images(np.random.default_rng(9))
    noise = np.random.default_rng(10).normal(size=(SIZE, SIZE))
    for name, image in own.items():
        with pytest.raises(InputError, match=rf"^noise: has the same pixels as the {name} .*pure noise"):
            given(image)
    with pytest.raises(InputError, match=r"^noise: has 300 x 400 pixels, but the difference difference has 500 x 500"):
        given(noise[:400, :300])
    for constant in (np.zeros((SIZE, SIZE)), np.full((SIZE, SIZE), 2.0)):
        with pytest.raises(InputError, match=r"^noise: (all its pixels have one value|has only 0 pixels)"):
            given(constant)
    with pytest.raises(InputError, match=r"^two: has the same pixels as one:"):
        given([Exposure(noise, name="one"), Exposure(noise, name="two")])
    with pytest.raises(InputError, match=r"^noise: has only 900 pixels with data"):
        given(np.where(np.indices((SIZE, SIZE)).max(axis=0) < 30, noise, np.nan))
    with pytest.raises(InputError, match=r"^noise: .*correlated"):
        given(gaussian_filter(noise, 60))


def test_sources_in_it_are_told() -> None:
    rng = np.random.default_rng(11)
    noise = rng.normal(size=(SIZE, SIZE))
    assert given(noise).warnings == []
    stars = np.zeros((SIZE, SIZE))
    stars[tuple(rng.integers(0, SIZE, (2, 20)))] = 3000
    said = given(noise + gaussian_filter(stars, 1.5)).warnings
    assert any(text.startswith("noise: ") and "lie beyond 6 sigma, where noise has none" in text for text in said)


@pytest.mark.parametrize("factor", [0.2, 3.0])
def test_noise_of_another_size_is_told(factor: float) -> None:
    noise = np.random.default_rng(12).normal(size=(SIZE, SIZE)) * factor
    said = given(noise).warnings
    assert any("but the background of template one of 1" in text for text in said)


def test_stacks_have_none() -> None:
    contributions = [Contribution(side, noise=1.0) for side in ("science", "template")]
    noise = np.random.default_rng(10).normal(size=(SIZE, SIZE))
    with pytest.raises(UsageError, match=r"^noise images are of the science image or the template"):
        given(noise, contributions=contributions)


# Of the command


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("realisations")
    shape = (90, 110)
    make_inputs(folder, shape)
    rng = np.random.default_rng(13)
    for name, sigma in (("sn1", 2.0), ("sn2", 2.0), ("tn", 1.5)):
        write_exposure(folder / f"{name}.fits", rng.normal(0, sigma, shape))
    return folder


def test_several_files(folder: Path) -> None:
    line = ("run", *INPUTS, "--sci-noise-image", "sn1.fits[IMAGE,1],sn2.fits", "--tmpl-noise-image", "tn.fits")
    said = told(folder, *line, "-o", "out.fits")
    assert said["options"]["sci_noise_image"] == ["sn1.fits[IMAGE,1]", "sn2.fits"]
    assert [image["measured_on"] for image in said["noise"]["images"]] == ["noise images"] * 2
    header = fits.getheader(folder / "out.fits")
    assert header["DCSCINIM"] == "sn1.fits[IMAGE,1],sn2.fits"
    assert header["DCTMPNIM"] == "tn.fits"
    assert header["DCMSRC1"] == "noise images"
    assert any("sn2.fits" in str(header[card]) for card in header if card.startswith("DCSUM"))
    succeed(folder, "rerun", "out.fits", "-o", "again.fits")
    np.testing.assert_array_equal(
        fits.getdata(folder / "again.fits", "IMAGE"), fits.getdata(folder / "out.fits", "IMAGE")
    )
    (folder / "options.toml").write_text(
        'sci-noise-image = ["sn1.fits[IMAGE,1]", "sn2.fits"]\ntmpl-noise-image = "tn.fits"\n'
    )
    told(folder, "run", *INPUTS, "--config", "options.toml", "-o", "third.fits")
    np.testing.assert_array_equal(
        fits.getdata(folder / "third.fits", "IMAGE"), fits.getdata(folder / "out.fits", "IMAGE")
    )


def test_files_that_cannot_be(folder: Path) -> None:
    refused(folder, "missing.fits", "run", *INPUTS, "--sci-noise-image", "sn1.fits,missing.fits", "-o", "no.fits")
    refused(
        folder,
        "has the same pixels as the science image",
        "run",
        *INPUTS,
        "--sci-noise-image",
        "sci.fits",
        "-o",
        "no.fits",
    )
    refused(folder, "names of files", "run", *INPUTS, "--sci-noise-image", "sn1.fits,", "-o", "no.fits", status=2)
    (folder / "inputs.toml").write_text("[[science]]\nnoise = 2.0\n[[template]]\nnoise = 1.5\n")
    refused(folder, "--sci-noise-image and --inputs exclude each other", "run", *INPUTS, "--sci-noise-image",
        "sn1.fits", "--inputs", "inputs.toml", "-o", "no.fits", status=2)  # fmt: skip
