"""What a run prints: the summary table, the JSON object, the progress bar."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffim_decorr.plan import Plan
    from diffim_decorr.qa import QualityFigures

__all__ = ("figures", "print_extensions", "print_summary", "progress_bar")


def figures(path: str, plan: Plan, qa: QualityFigures) -> dict[str, Any]:
    """The object that ``--json`` prints; figures that could not be measured are null."""

    def number(value: float) -> float | None:
        return float(value) if math.isfinite(value) else None

    psi = plan.decorrelation
    return {
        "output": path,
        "mode": "spatial" if plan.options.spatial else "constant",
        "noise": {
            "svar": plan.noise.science,
            "tvar": plan.noise.template,
            "model": plan.options.noise,
            **_measured(plan),
        },
        "psi": {
            "half_width": psi.half_width,
            "modes": psi.modes,
            "node_spacing": psi.node_spacing,
            "energy_lost": psi.energy_lost,
            "frequencies_limited": psi.frequencies_limited,
            "error": psi.error,
        },
        "qa": {
            "max_abs_rho_before": number(qa.max_abs_rho_before),
            "max_abs_rho_after": number(qa.max_abs_rho_after),
            "snr_std": number(qa.snr_std),
            "pixels_used": qa.pixels_used,
        },
        "timings": {stage: round(seconds, 4) for stage, seconds in plan.timings.items()},
        "warnings": plan.warnings,
    }


def _measured(plan: Plan) -> dict[str, Any]:
    """What was measured of the inputs' noise."""
    from diffim_decorr.qa import max_abs_rho

    images = [
        {
            "name": contribution.name,
            "side": contribution.side,
            "variance": plane.measured.variance,
            "variance_factor": plane.factor,
            "max_abs_rho": max_abs_rho(plane.measured.correlation),
            "plateau": plane.measured.plateau,
            "pixels": plane.measured.pixels,
        }
        for contribution, plane in zip(plan.contributions, plan.planes, strict=True)
        if plane.measured is not None
    ]
    if not images:
        return {}
    residual = plan.recipe.residual
    return {
        "images": images,
        "residual_max_abs_rho": None if residual is None else max_abs_rho(residual),
        "calibration": plan.calibration,
    }


def print_summary(summary: dict[str, Any], verbose: bool) -> None:
    """Print the summary as a short table."""

    def shown(value: float | None, form: str = ".4f") -> str:
        return "not measured" if value is None else format(value, form)

    qa, psi, noise = summary["qa"], summary["psi"], summary["noise"]
    rows: list[tuple[str, str]] = []
    rows.append(("output", summary["output"]))
    rows.append(("decorrelation kernel", f"{summary['mode']}, half width {psi['half_width']}, {psi['modes']} modes"))
    rows.append(("background variance", f"science {noise['svar']:.6g}, template {noise['tvar']:.6g}"))
    rows.append(("max_abs_rho", f"{shown(qa['max_abs_rho_before'])} before, {shown(qa['max_abs_rho_after'])} after"))
    rows.append(("snr_std", shown(qa["snr_std"])))
    if verbose:
        rows.append(("source-free pixels", str(qa["pixels_used"])))
        rows.append(("energy lost", f"{psi['energy_lost']:.2e}"))
        rows.append(("node spacing", f"{psi['node_spacing']:.0f} pixels, error {psi['error']:.1e} of the noise"))
        rows.append(("frequencies limited", f"{psi['frequencies_limited']:.2%}"))
    seconds = summary["timings"]
    stages = ", ".join(f"{stage} {value:.2f}" for stage, value in seconds.items() if stage != "total")
    rows.append(("seconds", f"{seconds['total']:.2f}" + (f" ({stages})" if verbose else "")))
    if not sys.stdout.isatty():
        for label, value in rows:
            print(f"{label:<22}{value}")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=None, show_header=False, box=None, pad_edge=False)
    for label, value in rows:
        table.add_row(label, value)
    # Names of files are no markup.
    Console(highlight=False, markup=False, emoji=False).print(table)


def print_extensions(path: str, summaries: list[dict[str, Any]], seconds: float) -> None:
    """Print a line for each exposure of a mosaic."""

    def shown(value: float | None) -> str:
        return "not measured" if value is None else f"{value:.4f}"

    print(f"{'output':<22}{path}")
    for summary in summaries:
        qa = summary["qa"]
        rho = f"{shown(qa['max_abs_rho_before'])} before, {shown(qa['max_abs_rho_after'])} after"
        print(f"{summary['extension']:<22}max_abs_rho {rho}; snr_std {shown(qa['snr_std'])}")
    print(f"{'seconds':<22}{seconds:.2f}")


@contextmanager
def progress_bar() -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("filtering", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
