"""What is to be measured, and what a suite gives back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from measure import Sample

__all__ = ("Bar", "Measured", "Plan", "Table", "decorr_run", "large_rounds", "peak", "per_pixel", "wall")


@dataclass(frozen=True)
class Plan:
    """What to measure and how often.

    Parameters
    ----------
    decorr
        The command.
    work
        A folder for the files.
    data
        The folder with real images, which may be absent.
    against
        The earlier commit to compare to, or None.
    sizes
        Image sides of whole runs.
    scene
        Image side of the simulated field.
    engine
        Image side for the engine and its competitors.
    cutout
        Image side on which direct convolution is timed.
    scaling
        Image side for the scaling with kernels and threads, for the wide kernel, and for whole runs of two commits.
    wide
        Of the wide kernel, in pixels.
    widths, orders, threads
        Of the kernels, and numbers of threads.
    points
        How many pixels are computed by brute force, and how many sources at most.
    rounds
        How often everything is measured.
    quick
        Whether to see that everything works is all that is wanted.
    """

    decorr: Path
    work: Path
    data: Path
    against: str | None = None
    sizes: tuple[int, ...] = (1024, 2048, 4096)
    scene: int = 4096
    engine: int = 4096
    cutout: int = 512
    scaling: int = 4096
    widths: tuple[int, ...] = (11, 21, 41)
    wide: int = 41
    orders: tuple[int, ...] = (0, 1, 2, 3)
    threads: tuple[int, ...] = (1, 2)
    points: int = 50
    rounds: int = 5
    quick: bool = False


@dataclass(frozen=True)
class Table:
    """Rows under headings."""

    title: str
    headings: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)


@dataclass(frozen=True)
class Bar:
    """A figure and the limit it has to keep."""

    name: str
    figure: float
    limit: float
    at_least: bool = False
    unit: str = ""

    @property
    def met(self) -> bool:
        return self.figure >= self.limit if self.at_least else self.figure <= self.limit


@dataclass(frozen=True)
class Measured:
    """What a suite found."""

    title: str
    text: str
    tables: list[Table]
    bars: list[Bar] = field(default_factory=list)
    figures: dict[str, dict[str, float]] = field(default_factory=dict)


def large_rounds(rounds: int) -> int:
    """How often images beyond 4096² are measured, which take their time."""
    return max(3, rounds // 2)


def decorr_run(output: Path, *words: object, command: Iterable[object]) -> list[object]:
    """The command line of a run that says its figures as a JSON object."""
    return [*command, "run", *words, "-o", output, "--overwrite", "--json", "-q"]


def wall(sample: Sample) -> float:
    return sample.wall


def peak(samples: Iterable[Sample]) -> float:
    """The largest memory of any run [MiB]."""
    return max(sample.peak for sample in samples)


def per_pixel(seconds: float, pixels: int) -> float:
    """Nanoseconds for each pixel."""
    return seconds / pixels * 1e9
