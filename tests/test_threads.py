"""Results do not depend on the number of threads, those of the linear algebra libraries included."""

from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from diffim_decorr import decorrelate
from diffim_decorr.threads import serial_blas, within_memory
from support.kernels import gaussian
from support.noise import noise_images
from support.reference import rms

KERNEL = gaussian(15, 1.5, total=1.2)


def _blas_threads() -> list[int]:
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


@pytest.fixture(scope="module")
def images():
    return noise_images(14, (130, 900), KERNEL, 1.0, np.linspace(1, 4, 900) * np.ones((130, 1)))


def test_the_same_bits_for_any_number_of_threads(images) -> None:
    results = []
    for threads, blas in ((1, 1), (2, 4), (5, 2)):
        with threadpool_limits(blas, user_api="blas"):
            before = _blas_threads()
            results.append(decorrelate(*images, KERNEL, spatial=True, node_spacing=64, threads=threads))
            assert _blas_threads() == before
    first, *others = results
    assert rms(first.exposure.image) > 0
    for other in others:
        np.testing.assert_array_equal(other.psi.basis, first.psi.basis)
        for plane in ("image", "variance", "mask"):
            np.testing.assert_array_equal(getattr(other.exposure, plane), getattr(first.exposure, plane))


def test_the_last_one_out_restores_what_was() -> None:
    with threadpool_limits(2, user_api="blas"):
        before = _blas_threads()
        outer, inner = serial_blas(), serial_blas()
        outer.__enter__()
        inner.__enter__()
        outer.__exit__(None, None, None)  # as of another thread, which ends first
        assert set(_blas_threads()) <= {1}
        inner.__exit__(None, None, None)
        assert _blas_threads() == before


@pytest.mark.parametrize(
    ("threads", "each", "budget", "workers"), [(32, 10, 100, 10), (4, 10, 100, 4), (8, 200, 100, 1), (8, 10, -5, 1)]
)
def test_no_more_threads_than_there_is_memory_for(threads: int, each: int, budget: int, workers: int) -> None:
    assert within_memory(threads, each, budget) == workers
