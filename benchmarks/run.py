"""Measure decorr and write docs/benchmarks.md; see there for what is measured and how.

What is measured in part (--quick, --only, --against) is printed, and written only where --output names a file.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

from against import commit_of
from measure import HERE, cores, machine
from plan import Plan
from report import page, plain_bar
from suites import SUITES

_DATA = HERE.parents[1] / "shared" / "data"


def main() -> None:
    given = _arguments()
    # Ended from outside it must not leave its images behind, which may be 10 GB.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    load = _load()
    with tempfile.TemporaryDirectory(prefix="decorr-bench-", dir=given.work) as work:
        plan = _plan(given, Path(work))
        measured = []
        for name in given.only:
            start = time.perf_counter()
            measured.append(SUITES[name](plan))
            print(f"{name}: measured in {time.perf_counter() - start:.0f} s", file=sys.stderr)
            for bar in measured[-1].bars:
                print(plain_bar(bar), flush=True)
    text = page(measured, machine(), (load, _load()), plan.rounds, time.strftime("%Y-%m-%d"))
    if given.output:
        given.output.parent.mkdir(parents=True, exist_ok=True)
        given.output.write_text(text, encoding="utf-8")
    else:
        print(text)
    if given.json:
        given.json.write_text(json.dumps({name: asdict(m) for name, m in zip(given.only, measured, strict=True)}))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    extent = parser.add_mutually_exclusive_group()
    extent.add_argument("--full", action="store_true", help="also 8192² and 16384² pixels; takes 10 GB of disk")
    extent.add_argument("--quick", action="store_true", help="small images, to see that everything works")
    parser.add_argument("--only", nargs="+", choices=SUITES, help="part of it")
    parser.add_argument("--against", metavar="REV", help="compare to an earlier commit, alone or with --full or --only")
    parser.add_argument("--repeat", type=int, metavar="N", help="rounds [default: 5, quick 1]")
    parser.add_argument("--output", type=Path, help="the page [default, if all is measured: docs/benchmarks.md]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the figures")
    parser.add_argument("--decorr", type=Path, help="the command [default: the one of this Python]")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="where images go [default: the temporary folder]")
    parser.add_argument("--data", type=Path, metavar="FOLDER", default=_DATA, help="where real images are")
    given = parser.parse_args()
    if given.repeat is not None and given.repeat < 1:
        parser.error("--repeat must be at least 1")
    if given.against is None and "against" in (given.only or ()):
        parser.error("--only against needs --against REV")
    if given.against is not None:
        try:
            commit_of(given.against)
        except ValueError as error:
            parser.error(f"--against {given.against}: no such commit: {error}")
    everything = [name for name in SUITES if name != "against"]
    whole = given.only is None and not given.quick and (given.full or given.against is None)
    if whole and given.output is None:
        given.output = HERE.parent / "docs" / "benchmarks.md"
    asked = given.only or (everything if given.full or given.against is None else [])
    given.only = [name for name in SUITES if name in asked or (name == "against" and given.against is not None)]
    return given


def _plan(given: argparse.Namespace, work: Path) -> Plan:
    decorr = given.decorr or Path(sys.executable).with_name("decorr")
    if shutil.which(decorr) is None:
        sys.exit(f"{decorr}: no such command; --decorr names another")
    count = cores()
    plan = Plan(decorr, work, given.data, given.against, threads=tuple(sorted({1, min(2, count), count})))
    if given.full:
        plan = replace(plan, sizes=(*plan.sizes, 8192, 16384))
    if given.quick:
        plan = replace(plan, sizes=(256,), scene=256, engine=320, cutout=96, scaling=256, widths=(21,), wide=21)
        plan = replace(plan, orders=(0, 2), threads=(1,), points=12, rounds=1, quick=True)
    return replace(plan, rounds=given.repeat) if given.repeat else plan


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    main()
