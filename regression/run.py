"""Run fixed cases through the real command and compare their figures with stored ones.

    python regression/run.py [--record] [--only NAME ...]

Prints what moved and ends with status 1 if anything moved by more than its tolerance. The cases and tolerances are in
cases.toml, the figures in expected.json; `--record` stores those of now, which belongs into a commit that says why.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
PIXELS = 256

Figures = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare the figures of fixed cases with stored ones.")
    parser.add_argument("--record", action="store_true", help="store the figures instead of comparing them")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these cases only")
    parser.add_argument("--cases", type=Path, default=HERE / "cases.toml")
    parser.add_argument("--expected", type=Path, default=HERE / "expected.json")
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data", help="where real images are")
    arguments = parser.parse_args()

    plan = tomllib.loads(arguments.cases.read_text())
    stored: dict[str, Figures] = json.loads(arguments.expected.read_text()) if arguments.expected.exists() else {}
    cases = [case for case in plan["case"] if arguments.only is None or case["name"] in arguments.only]
    unknown = set(arguments.only or ()) - {case["name"] for case in cases}
    if unknown:
        parser.error(f"no case is named {', '.join(sorted(unknown))}")

    console = Console(highlight=False, soft_wrap=True)
    moved: list[tuple[str, ...]] = []
    compared = skipped = 0
    for case in cases:
        name = case["name"]
        absent = [path for path in case.get("needs", ()) if not Path(path.format(data=arguments.data)).exists()]
        if absent:
            console.print(f"{name}: skipped, there is no {absent[0].format(data=arguments.data)}")
            skipped += 1
            continue
        try:
            found = measure(case, arguments.data)
        except CaseError as error:
            console.print(f"{name}: failed, {error}", markup=False)
            moved.append((name, "the run", "to succeed", "failed", ""))
            continue
        compared += 1
        if arguments.record:
            stored[name] = found
            console.print(f"{name}: recorded")
            continue
        rows = compare(found, stored.get(name), plan["tolerances"] | case.get("tolerances", {}))
        console.print(f"{name}: {len(rows)} figures moved" if rows else f"{name}: as recorded")
        moved += [(name, *row) for row in rows]

    if arguments.record and not moved:
        known = {case["name"] for case in plan["case"]}
        kept = {name: stored[name] for name in sorted(stored) if name in known}
        arguments.expected.write_text(written(kept))
    if moved:
        table = Table(title="what moved", title_justify="left")
        for heading in ("case", "figure", "stored", "found", "tolerance"):
            table.add_column(heading, overflow="fold")
        for row in moved:
            table.add_row(*row)
        console.print(table)
    console.print(f"{compared} cases {'recorded' if arguments.record else 'compared'}, {skipped} skipped, "
                  f"{len(moved)} figures moved")  # fmt: skip
    return 1 if moved else 0


def written(stored: dict[str, Figures]) -> str:
    """JSON with a line for each figure, so that a commit shows which ones were recorded anew."""
    cases = []
    for name, found in stored.items():
        lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(found[key])}" for key in sorted(found))
        cases.append(f" {json.dumps(name)}: {{\n{lines}\n }}")
    return "{\n" + ",\n".join(cases) + "\n}\n"


class CaseError(Exception):
    """A case could not be run."""


def measure(case: dict[str, Any], data: Path) -> Figures:
    """The figures of one case."""
    with tempfile.TemporaryDirectory(prefix="decorr-regression-") as folder:
        sim, output = f"{folder}/sim", f"{folder}/out.fits"
        if "simulate" in case:
            decorr("simulate", sim, "--quiet", *shlex.split(case["simulate"]))
        arguments = [part.format(sim=sim, data=data) for part in shlex.split(case["run"])]
        summary = json.loads(decorr("run", *arguments, "-o", output, "--json"))
        with warnings.catch_warnings():
            # A wrong CHECKSUM or DATASUM is a warning.
            warnings.simplefilter("error")
            with fits.open(output, checksum=True, memmap=False) as hdus:
                return figures(summary, hdus)


def decorr(*arguments: str) -> str:
    beside = Path(sys.executable).with_name("decorr")
    command = str(beside) if beside.exists() else shutil.which("decorr") or "decorr"
    done = subprocess.run([command, *arguments], capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise CaseError(f"status {done.returncode}: {lines[-1]}")
    return done.stdout


def figures(summary: dict[str, Any], hdus: fits.HDUList) -> Figures:
    """Everything that is compared, rounded to more digits than the tolerances have."""
    image, variance = (hdus[name].data.astype(float) for name in ("IMAGE", "VARIANCE"))
    mask = hdus["MASK"].data
    ny, nx = image.shape
    sigma2 = float(np.nanmedian(variance))
    rng = np.random.default_rng(20)
    y, x = rng.integers(0, ny, PIXELS), rng.integers(0, nx, PIXELS)
    places = [(px, py) for py in (0, ny // 3, ny - 1) for px in (0, nx // 2, nx - 1)]
    kernels = [psi_at(hdus, *place) for place in places]
    middle = len(kernels[0]) // 2
    planes = {card[3:]: bit for card, bit in hdus["MASK"].header.items() if card.startswith("MP_")}
    result: Figures = {
        "noise.svar": summary["noise"]["svar"],
        "noise.tvar": summary["noise"]["tvar"],
        # The variances of inputs whose noise was measured, in units of their planes.
        "noise.factors": [image["variance_factor"] for image in summary["noise"].get("images", ())],
        "psi.half_width": summary["psi"]["half_width"],
        "psi.modes": summary["psi"]["modes"],
        "psi.sum": [psi.sum() for psi in kernels],
        "psi.energy": [(psi**2).sum() for psi in kernels],
        # The centre and eight pixels around it, in every place.
        "psi.values": [v for psi in kernels for v in around(psi, middle)],
        **{f"qa.{key}": value for key, value in summary["qa"].items()},
        "image.values": list(image[y, x] / math.sqrt(sigma2)),
        "image.std": 1.4826 * float(np.nanmedian(np.abs(image - np.nanmedian(image)))),
        "image.missing": int(np.count_nonzero(~np.isfinite(image))),
        "variance.values": list(variance[y, x] / sigma2),
        "variance.median": sigma2,
        **{f"mask.{plane}": int(np.count_nonzero(mask >> bit & 1)) for plane, bit in planes.items()},
    }
    if "PSF" in hdus:
        psf = hdus["PSF"].data.astype(float)
        if psf.ndim == 3:  # on a grid, row by row: at the centre of the field
            knots = [np.unique(hdus["PSF_POSITIONS"].data[axis]) for axis in "YX"]
            along_y, along_x = (weights(k, (n - 1) / 2, 1) for k, n in zip(knots, (ny, nx), strict=True))
            psf = np.tensordot(np.outer(along_y, along_x).ravel(), psf, 1)
        result |= {"psf.sum": psf.sum(), "psf.energy": (psf**2).sum()}
    return {key: rounded(value) for key, value in flat(result)}


def flat(tree: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Figures within figures by their joined names."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, f"{before}{key}.")
        else:
            yield before + key, value


def around(psi: np.ndarray, middle: int) -> list[float]:
    reach = min(2, middle)
    return [psi[middle + dy, middle + dx] for dy in (-reach, 0, reach) for dx in (-1, 0, 1)]


def rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [rounded(v) for v in value]
    if value is None or not math.isfinite(value):
        return None
    return value if isinstance(value, int) else float(f"{value:.7g}")


def psi_at(hdus: fits.HDUList, x: float, y: float) -> np.ndarray:
    """The decorrelation kernel at a position, written from docs/output.md and not with the package's own code."""
    basis = hdus["PSI_BASIS"].data
    for row in hdus["PSI_COEFFS"].data[::-1]:
        if row["X0"] <= x < row["X1"] and row["Y0"] <= y < row["Y1"]:
            nx, ny = row["NX"], row["NY"]
            values = np.ravel(row["VALUES"])[: len(basis) * ny * nx].reshape(len(basis), ny, nx)
            along_x = weights(np.ravel(row["KNOTS_X"])[:nx], x, row["ORDER"])
            along_y = weights(np.ravel(row["KNOTS_Y"])[:ny], y, row["ORDER"])
            return np.tensordot(values @ along_x @ along_y, basis, axes=1)
    return np.zeros(basis.shape[1:])


def weights(knots: np.ndarray, position: float, order: int) -> np.ndarray:
    order = min(order, len(knots) - 1)
    first = np.searchsorted(knots, position, side="right") - 1 - (order - 1) // 2
    first = int(np.clip(first, 0, len(knots) - 1 - order))
    if order <= 1:
        position = float(np.clip(position, knots[0], knots[-1]))
    result = np.zeros(len(knots))
    for j in range(first, first + order + 1):
        others = [k for i, k in enumerate(knots[first : first + order + 1], first) if i != j]
        result[j] = np.prod([(position - k) / (knots[j] - k) for k in others])
    return result


def compare(found: Figures, stored: Figures | None, tolerances: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """Figure, stored and found value, and tolerance of whatever moved."""
    if stored is None:
        return [("all", "nothing", "figures", "record them first")]
    rows = []
    for key in sorted(stored.keys() | found.keys()):
        if key not in stored or key not in found:
            there, here = ("nothing", "something") if key not in stored else ("something", "nothing")
            rows.append((key, there, here, "both"))
            continue
        rule = next(tolerances[k] for k in names_of(key) if k in tolerances)
        row = moved_by(stored[key], found[key], with_error(rule, key, stored))
        if row:
            rows.append((key, *row))
    return rows


def names_of(key: str) -> Iterator[str]:
    """A figure, whatever it is a part of, and the default."""
    parts = key.split(".")
    yield from (".".join(parts[:end]) for end in range(len(parts), 0, -1))
    yield "default"


def with_error(rule: dict[str, Any], key: str, stored: Figures) -> dict[str, Any]:
    """The rule of a figure that may move by a share of its own error, which may itself move by that share of it."""
    if "error" not in rule:
        return rule
    name = re.sub("[._](value|expected|error)$", "", key)
    error = next(stored[k] for k in (f"{name}.error", f"{name}_error") if k in stored)
    return {"abs": rule["error"] * (error or 0.0)} | {name: rule[name] for name in ("rel",) if name in rule}


def moved_by(stored: Any, found: Any, rule: dict[str, Any]) -> tuple[str, str, str] | None:
    """Stored and found value and the tolerance in words, or None if the figure has not moved."""
    words = {"abs": "{:g}", "rel": "{:g} of it"}
    said = " + ".join(form.format(rule[key]) for key, form in words.items() if key in rule)
    if isinstance(stored, list):
        same = isinstance(found, list) and [v is None for v in stored] == [v is None for v in found]
        if not same:
            return f"{len(stored)} values", "other values missing", "the same"
        if not stored:
            return None
        old, new = (np.array([v for v in values if v is not None], dtype=float) for values in (stored, found))
        limit = rule.get("abs", 0.0) + rule.get("rel", 0.0) * np.abs(old)
        change = np.abs(new - old)
        if rule.get("rms"):
            # What a bright source adds to the error is in proportion to it.
            off = math.sqrt(float(np.mean((change / (limit * np.maximum(1.0, np.abs(old)))) ** 2)))
            worst = int(np.argmax(change / np.maximum(1.0, np.abs(old))))
            said += " rms"
        else:
            off, worst = float((change / np.maximum(limit, 1e-300)).max(initial=0.0)), int(np.argmax(change - limit))
        if off <= 1:
            return None
        return f"{old[worst]:.6g} (worst of {len(old)})", f"{new[worst]:.6g} ({off:.1f} times the tolerance)", said
    if stored is None or found is None:
        return None if stored is found else (str(stored), str(found), said)
    limit = rule.get("abs", 0.0) + rule.get("rel", 0.0) * abs(stored)
    return None if abs(found - stored) <= limit else (f"{stored:.6g}", f"{found:.6g}", said)


if __name__ == "__main__":
    sys.exit(main())
