"""A night of exposures from the first to the last, with what becomes of each told and kept as it comes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Protocol

from diffim_decorr.batch.results import Results
from diffim_decorr.batch.tasks import Task

__all__ = ("Totals", "work_through")

#: Tells what a result is to be marked with.
Gates = Callable[[Mapping[str, float]], list[str]]


class Engine(Protocol):
    """Whatever works on tasks and tells what became of each, in the order in which they end."""

    def __call__(self, tasks: Sequence[Task], /) -> Iterator[dict[str, Any]]: ...


@dataclass
class Totals:
    """How many exposures came to what.

    Parameters
    ----------
    total
        How many there are.
    done, skipped, failed
        How many were worked on, were there already, and could not be.
    verdicts
        How many results have which verdict.
    failures
        Why there is no result, by output.
    gated
        What results are marked with, by output.
    """

    total: int
    done: int = 0
    skipped: int = 0
    failed: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)
    gated: dict[str, list[str]] = field(default_factory=dict)

    @property
    def ended(self) -> int:
        """How many have come to their end."""
        return self.done + self.skipped + self.failed

    def count(self, outcome: Mapping[str, Any]) -> None:
        """Take one more into account."""
        output = str(outcome["output"])
        if outcome["status"] == "failed":
            self.failed += 1
            self.failures[output] = str(outcome["error"]["message"])
            return
        if outcome["status"] == "done":
            self.done += 1
        else:
            self.skipped += 1
        self.verdicts[str(outcome["verdict"])] += 1
        if outcome["gates"]:
            self.gated[output] = list(outcome["gates"])

    def tree(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "total": self.total,
            "done": self.done,
            "skipped": self.skipped,
            "failed": self.failed,
            "verdicts": dict(self.verdicts),
            "failures": self.failures,
            "gated": self.gated,
        }


def work_through(
    tasks: Sequence[Task],
    engine: Engine,
    results: Results,
    gates: Gates,
    told: Callable[[dict[str, Any], Totals], None],
) -> Totals:
    """Work on all exposures.

    Parameters
    ----------
    tasks
        The exposures.
    engine
        What works on them.
    results
        Takes what becomes of each.
    gates
        What a result is to be marked with, by its figures.
    told
        Called after each exposure with what became of it, and the totals so far.
    """
    totals = Totals(len(tasks))
    with closing(engine(tasks)) as ending:  # type: ignore[type-var]
        for outcome in ending:
            outcome["gates"] = [] if outcome["status"] == "failed" else gates(outcome["figures"])
            before = results.known.get(outcome["output"], {})
            if outcome["status"] == "skipped" and before.get("made") == outcome["made"] is not None:
                # What is known from when it was made is more.
                kept = {**before, "gates": outcome["gates"]}
                if kept != before:
                    results.add(kept)
            else:
                results.add(outcome)
            totals.count(outcome)
            told(outcome, totals)
    return totals
