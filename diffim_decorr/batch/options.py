"""How many exposures are worked on: every option of `decorr batch` besides those of `decorr run`, declared once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from diffim_decorr.declare import Declared, again, documented, option
from diffim_decorr.errors import OptionError
from diffim_decorr.options import CommandOptions, OutputOptions

__all__ = ("BatchOptions", "CompanionOptions")


@documented
@dataclass(frozen=True, repr=False)
class CompanionOptions(Declared):
    """What is made of each result besides."""

    plot: str | None = again(CommandOptions, "plot")
    report: str | None = again(CommandOptions, "report")
    snr: str | None = again(CommandOptions, "snr")

    @property
    def files(self) -> list[str]:
        """All that is written."""
        return [path for path in (self.plot, self.report, self.snr) if path is not None]


@documented
@dataclass(frozen=True, repr=False)
class BatchOptions(Declared):
    """Which exposures, how many at a time, and what is told of them."""

    about: ClassVar[str] = "option of batches"

    glob: str | None = option(
        None,
        "Instead of a manifest, the differences: a pattern in which * ? and [a-z] are as in a shell, and {word} is a * "
        "that has a name.",
        metavar="PATTERN",
        section="Exposures",
    )
    science: str | None = option(
        None, "The science image of each difference; {word}, {dir}, {name} and {stem} stand for parts of its name.",
        metavar="NAME", section="Exposures",
    )  # fmt: skip
    template: str | None = option(None, "The template of each, likewise.", metavar="NAME", section="Exposures")
    ignore_columns: bool = option(
        False, "Leave columns of the manifest alone that are no options.", section="Exposures"
    )
    shard: str | None = option(
        None,
        "Only part I of N of the exposures, for arrays of jobs: every N-th row, with results of its own.",
        pattern=r"[1-9]\d*/[1-9]\d*",
        form="I/N, as 3/8",
        metavar="I/N",
        unset="all of them",
        section="Exposures",
    )
    emit: Literal["make", "sh", "slurm", "snakemake"] | None = option(
        None,
        "Do nothing, but print the same work as a makefile, a shell script, a job array or a workflow.",
        unset="none",
        section="Work",
    )
    scheduler: str | None = again(
        CommandOptions,
        "scheduler",
        help="Work on the cluster of this Dask scheduler, by its address or the file that it has written; needs the "
        "extra batch.",
        section="Work",
    )
    jobs: int | None = option(
        None,
        "Exposures worked on at a time, each by a process.",
        low=1,
        high=4096,
        metavar="N",
        unset="as many as processors and memory allow",
        section="Work",
    )
    time_limit: float | None = option(
        None, "Seconds that one exposure may take.", positive=True, metavar="S", unset="none", section="Work"
    )
    memory_limit: float | None = option(
        None,
        "Memory that one exposure may take.",
        low=300,
        metavar="MB",
        unset="none",
        section="Work",
    )
    retries: int = option(
        2,
        "How often an exposure is tried again after an error of the file system.",
        low=0,
        high=100,
        metavar="N",
        section="Work",
    )
    retry_wait: float = option(
        2.0,
        "Seconds before that, twice as many before each further time.",
        low=0,
        high=3600,
        metavar="S",
        section="Work",
    )
    retry_failed: bool = option(
        False, "Try nothing but the exposures that failed before, by the results.", section="Exposures"
    )
    results: str | None = option(
        None,
        "What became of each exposure, JSON lines, written as they come.",
        metavar="FILE.jsonl",
        unset="the manifest's name with .results.jsonl",
        section="Output",
        writes=True,
    )
    summary: str | None = option(
        None,
        "Table of all exposures, at the end.",
        metavar="FILE.ecsv",
        unset="the manifest's name with .summary.ecsv",
        section="Output",
        writes=True,
    )
    overwrite: bool = again(OutputOptions, "overwrite", short="--clobber", help="Do all again, whatever is there.")
    log: str | None = option(
        None,
        "Also put what is said, with times, to the end of this file.",
        metavar="FILE",
        section="Output",
        writes=True,
    )
    json: bool = option(False, "Print the totals as one JSON object.", section="Messages")
    quiet: bool = again(CommandOptions, "quiet")
    strict: bool = option(
        False, "End with status 4 if a verdict is fail; all outputs are written all the same.", section="Quality"
    )

    def check(self) -> None:
        if self.glob is not None and (self.science is None or self.template is None):
            raise OptionError("{glob} needs {science} and {template}")
        part, parts = self.part
        if part > parts:
            raise OptionError(f"{{shard}} {part}/{parts}: there are only {parts} parts")

    @property
    def part(self) -> tuple[int, int]:
        """Which part of the exposures, and of how many."""
        part, parts = (self.shard or "1/1").split("/")
        return int(part), int(parts)
