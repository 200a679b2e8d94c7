"""Measure decorr and write docs/benchmarks.md; see there for what is measured and how."""

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

from measure import HERE, machine
from report import page, plain_bar
from suites import SUITES, Plan


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
    given.output.parent.mkdir(parents=True, exist_ok=True)
    text = page(measured, machine(), (load, _load()), plan.rounds, time.strftime("%Y-%m-%d"))
    given.output.write_text(text, encoding="utf-8")
    if given.json:
        given.json.write_text(json.dumps({name: asdict(m) for name, m in zip(given.only, measured, strict=True)}))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    extent = parser.add_mutually_exclusive_group()
    extent.add_argument("--full", action="store_true", help="also 8192² and 16384² pixels; takes 10 GB of disk")
    extent.add_argument("--quick", action="store_true", help="small images, to see that everything works")
    parser.add_argument("--only", nargs="+", choices=SUITES, default=list(SUITES), help="part of it")
    parser.add_argument("--repeat", type=int, metavar="N", help="rounds [default: 5, quick 1]")
    parser.add_argument("--output", type=Path, default=HERE.parent / "docs" / "benchmarks.md", help="the page")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the figures")
    parser.add_argument("--decorr", type=Path, help="the command [default: the one of this Python]")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="where images go [default: the temporary folder]")
    given = parser.parse_args()
    if given.repeat is not None and given.repeat < 1:
        parser.error("--repeat must be at least 1")
    return given


def _plan(given: argparse.Namespace, work: Path) -> Plan:
    decorr = given.decorr or Path(sys.executable).with_name("decorr")
    if shutil.which(decorr) is None:
        sys.exit(f"{decorr}: no such command; --decorr names another")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    plan = Plan(decorr, work, threads=tuple(sorted({1, min(2, cores), cores})))
    if given.full:
        plan = replace(plan, sizes=(*plan.sizes, 8192, 16384))
    if given.quick:
        plan = replace(plan, sizes=(256,), scene=256, engine=320, cutout=96, scaling=256, widths=(21,))
        plan = replace(plan, orders=(0, 2), threads=(1,), points=12, rounds=1, quick=True)
    return replace(plan, rounds=given.repeat) if given.repeat else plan


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    main()
