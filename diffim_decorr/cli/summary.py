"""What a run prints: the summary as a table, or as a JSON object."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from diffim_decorr.cli.lines import print_line
from diffim_decorr.errors import plain

__all__ = ("print_extensions", "print_json", "print_rows", "print_summary")


def print_json(summary: dict[str, Any]) -> None:
    """Print one JSON object."""
    import json

    from diffim_decorr.cli.failures import Telling

    Telling.current().done = True
    click.echo(json.dumps(summary, indent=2))


def print_summary(summary: dict[str, Any], verbose: bool) -> None:
    """Print the summary as a short table."""

    def shown(value: float | None, form: str = ".4f") -> str:
        return "not measured" if value is None else format(value, form)

    qa, psi, noise = summary["qa"], summary["psi"], summary["noise"]
    verdict = summary["verdict"]
    reasons = [f"{reason['figure']} {reason['value']:.4g}" for reason in verdict["reasons"]]
    rows: list[tuple[str, str]] = []
    rows.append(("verdict", verdict["status"] + (f": {', '.join(reasons)}" if reasons else "")))
    rows.append(("output", summary["output"]))
    rows.append(("decorrelation kernel", f"{summary['mode']}, half width {psi['half_width']}, {psi['modes']} modes"))
    rows.append(("background variance", f"science {noise['svar']:.6g}, template {noise['tvar']:.6g}"))
    rows.append(("max_abs_rho", f"{shown(qa['max_abs_rho_before'])} before, {shown(qa['max_abs_rho_after'])} after"))
    rows.append(("snr_std", shown(qa["snr_std"])))
    if verbose:
        held = ", held back from what was measured" if qa["held_back"] else ""
        rows.append(("source-free pixels", f"{qa['pixels_used']}{held}"))
        rows.append(("energy lost", f"{psi['energy_lost']:.2e}"))
        rows.append(("node spacing", f"{psi['node_spacing']:.0f} pixels, error {psi['error']:.1e} of the noise"))
        rows.append(("frequencies limited", f"{psi['frequencies_limited']:.2%}"))
    seconds = summary["timings"]
    stages = ", ".join(f"{stage} {value:.2f}" for stage, value in seconds.items() if stage != "total")
    rows.append(("seconds", f"{seconds['total']:.2f}" + (f" ({stages})" if verbose else "")))
    print_rows(rows)


def print_rows(rows: Sequence[tuple[str, str]]) -> None:
    """Print labels and values: wrapped on a terminal, else a line each."""
    if sys.stdout is None or not sys.stdout.isatty():
        for label, value in rows:
            print_line(f"{label:<22}{value}")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=None, show_header=False, box=None, pad_edge=False)
    for label, value in rows:
        table.add_row(label, plain(value))
    # Names of files are no markup.
    Console(highlight=False, markup=False, emoji=False).print(table)


def print_extensions(path: str, summaries: list[dict[str, Any]], seconds: float) -> None:
    """Print a line for each exposure of a mosaic."""

    def shown(value: float | None) -> str:
        return "not measured" if value is None else f"{value:.4f}"

    worst = max((summary["verdict"]["status"] for summary in summaries), key=("ok", "check", "fail").index)
    print_line(f"{'verdict':<22}{worst}")
    print_line(f"{'output':<22}{path}")
    for summary in summaries:
        qa = summary["qa"]
        rho = f"{shown(qa['max_abs_rho_before'])} before, {shown(qa['max_abs_rho_after'])} after"
        verdict = summary["verdict"]["status"]
        print_line(f"{summary['extension']:<22}{verdict}; max_abs_rho {rho}; snr_std {shown(qa['snr_std'])}")
    print_line(f"{'seconds':<22}{seconds:.2f}")
