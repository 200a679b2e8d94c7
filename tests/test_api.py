"""The Python API: what it offers and what a result has."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import numpy as np
import pytest

import diffim_decorr
from diffim_decorr import (
    DecorrWarning,
    InputError,
    MatchingKernel,
    Options,
    SpatialKernel,
    decorrelate,
    read_exposure,
    read_kernel,
)
from diffim_decorr.cli.run import run
from support.kernels import gaussian
from support.noise import exposures, noise_images, noise_pair
from support.project import ROOT
from support.reference import convolved
from support.survey import SHAPE

KERNEL = gaussian(15, 1.5, total=1.2)


def test_twice_the_same(survey: dict[str, Path]) -> None:
    inputs = [read_exposure(survey[key]) for key in ("science", "template", "difference")]
    one, other = (decorrelate(*inputs, read_kernel(survey["difference"]), spatial=True) for _ in range(2))
    for plane in ("image", "variance", "mask"):
        np.testing.assert_array_equal(getattr(one.exposure, plane), getattr(other.exposure, plane))


# What there is


def test_every_public_name_has_a_page() -> None:
    listed = re.findall(r"^   (\w+)$", (ROOT / "docs" / "reference" / "api.rst").read_text(), flags=re.MULTILINE)
    assert sorted(listed) == sorted({*diffim_decorr.__all__} - {"__version__"})


def test_documented_names_can_be_imported() -> None:
    for name in diffim_decorr.__all__:
        assert getattr(diffim_decorr, name) is not None
        assert name in dir(diffim_decorr)
    for name in ("Exposure", "decorrelate", "read_exposure", "read_kernel", "__version__"):
        assert name in diffim_decorr.__all__
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = diffim_decorr.no_such_name
    assert issubclass(InputError, ValueError)
    assert issubclass(DecorrWarning, UserWarning)


def test_options_are_named_as_on_the_command_line() -> None:
    command = {parameter.name for parameter in run.params}
    fields = set(inspect.signature(Options).parameters)
    # What is read from survey there is given as exposures and arrays here, and there is nothing to print or to write.
    survey = {"sci", "tmpl", "diff", "kernel", "psf", "pre_conv_kernel", "sci_kernel", "inputs", "dq_bad", "ext"}
    survey |= {"kernel_format", "sci_kernel_format", "sci_warp", "tmpl_warp"}
    survey |= {
        f"{side}_{plane}"
        for side in ("sci", "tmpl")
        for plane in ("variance", "noise", "weight", "mask", "noise_image")
    }
    written = {"output", "config", "overwrite", "json", "quiet", "verbose", "strict", "diff_mask", "layout", "all_ext"}
    written |= {"skip_existing", "plot", "report", "write_background", "snr", "scheduler"}
    assert command - survey - written == fields


def test_a_result_has_what_is_documented(survey: dict[str, Path]) -> None:
    inputs = [read_exposure(survey[key]) for key in ("science", "template", "difference")]
    result = decorrelate(*inputs, read_kernel(survey["difference"]), psf=gaussian(15, 1.3), spatial=True)
    exposure = result.exposure
    assert exposure.image.shape == exposure.variance.shape == exposure.mask.shape == SHAPE
    assert (exposure.image.dtype, exposure.variance.dtype, exposure.mask.dtype) == ("f4", "f4", "i4")
    assert {"SAT", "NO_DATA", "EDGE", "DECORR_BAD"} <= set(exposure.mask_planes)
    assert exposure.header["PHOTNORM"] == "i"
    assert isinstance(result.psi, SpatialKernel)
    assert result.psi.at(10, 20).sum() == pytest.approx(1, abs=1e-6)
    assert isinstance(exposure.psf, SpatialKernel)
    for figure in ("max_abs_rho_before", "max_abs_rho_after", "snr_std", "pixels_used"):
        assert np.isfinite(getattr(result.qa, figure))
    assert set(result.timings) >= {"noise", "psi", "filter", "qa"}


def test_progress_is_told() -> None:
    """Each stage as it begins, and the steps of those that have some."""
    science, template = noise_pair(72, SHAPE, 1.0, 1.0)
    told: list[tuple[str, int, int]] = []
    decorrelate(
        *exposures(science, template, science - convolved(template, KERNEL), 1.0, 1.0),
        KERNEL,
        progress=lambda *step: told.append(step),
    )
    assert [stage for stage, done, _ in told if not done] == ["read", "noise", "psi", "filter", "qa", "write"]
    steps = [step[1:] for step in told if step[0] == "filter"]
    total = steps[-1][1]
    assert steps == [(0, 0), *((done, total) for done in range(1, total + 1))]


def test_progress_that_raises_ends_the_run() -> None:
    science, template = noise_pair(72, SHAPE, 1.0, 1.0)
    images = exposures(science, template, science - template, 1.0, 1.0)

    def stop(_stage: str, _done: int, _of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decorrelate(*images, KERNEL, progress=stop)


@pytest.mark.parametrize("kind", ["array", "list", "spatial", "matching", "file"])
def test_kernels_of_any_kind(survey: dict[str, Path], kind: str) -> None:
    kernels = {
        "array": KERNEL,
        "list": KERNEL.tolist(),
        "spatial": SpatialKernel.constant(KERNEL),
        "matching": MatchingKernel(SpatialKernel.constant(KERNEL)),
        "file": read_kernel(survey["kernel"]),
    }
    images = noise_images(73, (100, 110), KERNEL, 1.0, 1.0)
    expected = decorrelate(*images, KERNEL).exposure.image
    np.testing.assert_array_equal(decorrelate(*images, kernels[kind]).exposure.image, expected)


def test_an_unknown_option_is_a_type_error() -> None:
    science, template = noise_pair(75, (90, 100), 1.0, 1.0)
    images = exposures(science, template, science - template, 1.0, 1.0)
    with pytest.raises(TypeError, match="tolerence"):
        decorrelate(*images, KERNEL, tolerence=1e-3)
