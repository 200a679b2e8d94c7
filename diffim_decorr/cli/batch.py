"""``decorr batch``: many exposures."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from diffim_decorr.batch.options import BatchOptions, CompanionOptions
from diffim_decorr.cli.commands import Command, argument, option
from diffim_decorr.cli.common import loading, say, tell
from diffim_decorr.cli.config import config_option
from diffim_decorr.cli.lines import print_line
from diffim_decorr.cli.options import chosen, options_of
from diffim_decorr.cli.pictures import extra
from diffim_decorr.errors import FailedExposuresError, FailedVerdictError, UsageError
from diffim_decorr.options import InputOptions, Options, OutputOptions

if TYPE_CHECKING:
    from diffim_decorr.batch.night import Engine, Totals
    from diffim_decorr.batch.tasks import Task
    from diffim_decorr.cli.ticker import Ticker

__all__ = ("batch",)

_UNNAMED = "decorr-batch"
_ENDING = re.compile(r"\.(csv|ecsv|fits?|fts|jsonl?|ndjson|txt)$", re.IGNORECASE)
_NAMED_WITHOUT_END = 20  # failures that are listed


@click.command(
    cls=Command,
    page="batch.md",
    examples=[
        ("decorr batch night.csv --spatial", "every row of a table"),
        (
            "decorr batch --glob 'night/*/diff.fits' --science {dir}/sci.fits --template {dir}/tmpl.fits",
            "every file that matches",
        ),
        ("decorr batch night.csv --shard $SLURM_ARRAY_TASK_ID/16", "a part of them, in an array of jobs"),
    ],
)
@argument(
    "manifest",
    "[MANIFEST]",
    "A table (CSV, ECSV, FITS or JSON lines; - is standard input) with columns science, template, difference and any "
    "option of decorr run.",
    required=False,
)
@options_of(BatchOptions)
@option(
    "--fail-if",
    "conditions",
    section="Quality",
    multiple=True,
    metavar="CONDITION",
    help="Mark results with a figure that is so, as 'max_abs_rho>0.05', and end with status 4; they are kept. May be "
    "given several times.",
)
@options_of(InputOptions)
@options_of(Options)
@options_of(OutputOptions, "output", "layout", "skip_existing")
@options_of(CompanionOptions)
@config_option
def batch(manifest: str | None, conditions: tuple[str, ...], **given: Any) -> None:
    """Whiten the noise of many difference images, several at a time.

    Options given here hold for all rows that say nothing else. Started again, it goes on where it was: what is whole,
    and of the same inputs, options and version, is not done again.
    """
    own = chosen(BatchOptions, given)
    inputs, options = chosen(InputOptions, given), chosen(Options, given)
    output = replace(chosen(OutputOptions, given), overwrite=own.overwrite)
    if (manifest is None) == (own.glob is None):
        raise UsageError("either a MANIFEST or --glob must be given, and not both")
    with loading():
        from diffim_decorr.assessment import Condition
        from diffim_decorr.batch.night import work_through
        from diffim_decorr.batch.results import check_table, locked, opened, table_of, write_table
        from diffim_decorr.batch.tasks import shared
        from diffim_decorr.cli.ticker import Ticker
        from diffim_decorr.findings import FIGURE_CARDS

    limits = [Condition.of(text) for text in conditions]
    for limit in limits:
        limit.met_by(dict.fromkeys(FIGURE_CARDS.values(), 0.0))
    common = shared(
        inputs, options, output, chosen(CompanionOptions, given), science=own.science, template=own.template
    )
    tasks = _tasks(manifest, own, common)
    stem = _UNNAMED if manifest in (None, "-") else _ENDING.sub("", str(manifest))
    part, parts = own.part
    tasks = tasks[part - 1 :: parts]
    if parts > 1:
        stem += f"-{part}of{parts}"
    if any(task.companions.plot or task.companions.report for task in tasks):
        with extra("report"):
            import diffim_decorr.report.page  # noqa: F401
    if own.emit is not None:
        from diffim_decorr.batch.emit import emitted

        click.echo(emitted(tasks, own.emit, os.path.basename(stem)), nl=False)
        return
    results_path = own.results or f"{stem}.results.jsonl"
    summary_path = own.summary or f"{stem}.summary.ecsv"
    _refuse_clashes([results_path, summary_path, *([own.log] if own.log else [])], manifest, tasks)
    check_table(summary_path)

    def gates(figures: Any) -> list[str]:
        return [said for limit in limits if (said := limit.met_by(figures))]

    with ExitStack() as stack:
        if manifest is not None and manifest != "-":
            stack.enter_context(locked(manifest, parts > 1))
        results = stack.enter_context(opened(results_path))
        chosen_tasks = [task for task in tasks if results.failed(task)] if own.retry_failed else tasks
        ticker = stack.enter_context(Ticker(len(chosen_tasks), own.quiet, own.log))
        try:
            with _engine(chosen_tasks, own, options, ticker) as engine:
                totals = work_through(chosen_tasks, engine, results, gates, ticker.tell)
        except (KeyboardInterrupt, SystemExit):
            ticker.note("interrupted; the same command goes on from here")
            raise
        finally:
            write_table(table_of(tasks, results.known), summary_path)
        ticker.end(totals)
    _tell(totals, results_path, summary_path, own)
    _end(totals, own.strict)


def _tasks(manifest: str | None, own: BatchOptions, common: dict[str, Any]) -> list[Task]:
    from diffim_decorr.batch.manifest import read_manifest
    from diffim_decorr.batch.tasks import tasks_matching, tasks_of

    if own.glob is not None:
        return tasks_matching(own.glob, common)
    assert manifest is not None
    return tasks_of(read_manifest(manifest), common, ignore=own.ignore_columns)


@contextmanager
def _engine(tasks: Sequence[Task], own: BatchOptions, options: Options, ticker: Ticker) -> Iterator[Engine]:
    """What works on the exposures: processes here, or a cluster."""
    from diffim_decorr.batch.pool import Limits, Pool
    from diffim_decorr.threads import available_threads

    there = available_threads()
    jobs = 1 if own.scheduler else _jobs(len(tasks), own, options)
    threads = options.threads or 1 if own.scheduler else max(1, there // jobs)
    limits = Limits(threads, own.time_limit, own.memory_limit, own.retries, own.retry_wait)
    if own.scheduler is None:
        ticker.note(f"{_exposures(len(tasks))}, {jobs} at a time, {threads} thread{'s' * (threads != 1)} each")
        with Pool(jobs, limits) as pool:
            yield pool.outcomes
        return
    with extra("batch"):
        from diffim_decorr.batch.cluster import connected
    with connected(own.scheduler, limits, own.jobs) as cluster:
        ticker.note(f"{_exposures(len(tasks))}, {cluster.places} at a time on {own.scheduler} as it is now")
        yield cluster.outcomes


def _jobs(count: int, own: BatchOptions, options: Options) -> int:
    """How many exposures are worked on at a time."""
    from diffim_decorr.memory import available
    from diffim_decorr.threads import available_threads

    jobs, free = own.jobs, available()
    if jobs is None:
        jobs = max(1, available_threads() // (options.threads or 1))
        if free is not None:
            jobs = max(1, min(jobs, int(free // options.max_memory)))
    return max(1, min(jobs, count))


def _refuse_clashes(ours: Sequence[str], manifest: str | None, tasks: Sequence[Task]) -> None:
    """See that what is told of a batch is written to files of its own."""
    taken = {os.path.abspath(path): path for task in tasks for path in task.written}
    taken |= {os.path.abspath(name): name for task in tasks for name in (*task.images.values(), *task.inputs.files)}
    if manifest is not None:
        taken[os.path.abspath(manifest)] = manifest
    for path in ours:
        other = taken.setdefault(os.path.abspath(path), path)
        if other is not path:
            raise UsageError(f"{path}: cannot be written there: it is used for something else")


def _tell(totals: Totals, results: str, summary: str, own: BatchOptions) -> None:
    """Print what all came to."""
    from diffim_decorr.cli.summary import print_json
    from diffim_decorr.summary import SCHEMA

    with tell(summary):
        if own.json:
            print_json({"schema": SCHEMA, **totals.tree(), "results": results, "summary": summary})
        elif not own.quiet:
            verdicts = ", ".join(f"{count} {name}" for name, count in sorted(totals.verdicts.items()))
            print_line(f"{'exposures':<22}{totals.total}")
            print_line(f"{'done, skipped, failed':<22}{totals.done}, {totals.skipped}, {totals.failed}")
            print_line(f"{'verdicts':<22}{verdicts or 'none'}")
            print_line(f"{'results':<22}{results}")
            print_line(f"{'summary':<22}{summary}")


def _end(totals: Totals, strict: bool) -> None:
    """End with the status that failures, marks and verdicts ask for."""
    for what, listed in (("failed", totals.failures), ("marked", {k: ", ".join(v) for k, v in totals.gated.items()})):
        for output, why in list(listed.items())[:_NAMED_WITHOUT_END]:
            say(f"decorr: {what}: {output}: {why}")
        if len(listed) > _NAMED_WITHOUT_END:
            say(f"decorr: {what}: and {len(listed) - _NAMED_WITHOUT_END} more, in the summary")
    if totals.failed:
        raise FailedExposuresError(f"{totals.failed} of {_exposures(totals.total)} failed")
    if totals.gated:
        raise FailedVerdictError(f"{len(totals.gated)} of {_exposures(totals.total)} are marked by --fail-if")
    if strict and totals.verdicts["fail"]:
        raise FailedVerdictError(f"{totals.verdicts['fail']} of {_exposures(totals.total)} are judged bad")


def _exposures(count: int) -> str:
    return f"{count} exposure{'s' * (count != 1)}"
