"""How far a run has come, on standard error."""

from __future__ import annotations

import pytest

from diffim_decorr.cli.progress import LONG, Estimate


class _Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _filtered(each: float, tiles: int, capsys: pytest.CaptureFixture[str], before: float = 0.0) -> list[str]:
    """What is said of a run whose filter takes so long for each of so many tiles, and all else so long before."""
    clock = _Clock()
    estimate = Estimate("this run", clock)
    clock.now += 50  # nobody has begun
    estimate("read", 0, 0)
    clock.now += before
    estimate("filter", 0, 0)
    for tile in range(1, tiles + 1):
        clock.now += each
        estimate("filter", tile, tiles)
    estimate("qa", 0, 0)
    return capsys.readouterr().err.splitlines()


def test_long_runs_are_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert _filtered(0.3, 100, capsys, before=5.0) == ["decorr: this run will take about 35 s, filtering most of it"]
    assert _filtered(9.0, 100, capsys) == ["decorr: this run will take about 15 min, filtering most of it"]


def test_short_runs_say_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Of the first steps nothing is told: a tile that waited for the disk says little of the others."""
    assert _filtered(0.99 * LONG / 30, 30, capsys) == []
    assert _filtered(0.01, 30, capsys) == []


def test_a_kernel_that_takes_long_is_told_before_the_filter_begins(capsys: pytest.CaptureFixture[str]) -> None:
    clock = _Clock()
    estimate = Estimate("each exposure", clock)
    estimate("read", 0, 0)
    estimate("psi", 0, 0)
    clock.now += 1
    estimate("psi", 5, 100)
    assert capsys.readouterr().err == "decorr: each exposure will take more than 20 s, building the kernel most of it\n"
    clock.now += 19
    estimate("psi", 100, 100)
    estimate("filter", 0, 0)
    clock.now += 10
    estimate("filter", 1, 9)
    assert capsys.readouterr().err == ""
