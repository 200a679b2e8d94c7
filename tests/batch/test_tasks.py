"""Rows and the command line together say what is to be done; what cannot be meant is refused beforehand."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from diffim_decorr import UsageError
from diffim_decorr.batch.manifest import Row
from diffim_decorr.batch.names import filled, matching, parts_of
from diffim_decorr.batch.tasks import Task, shared, tasks_matching, tasks_of
from diffim_decorr.cli.run import run
from diffim_decorr.declare import declared
from diffim_decorr.options import InputOptions, Options, OutputOptions

IMAGES = {"science": "s.fits", "template": "t.fits", "difference": "d.fits"}


def _task(common: dict[str, Any] | None = None, ignore: bool = False, **cells: Any) -> Task:
    (task,) = tasks_of([Row("m, row 1", IMAGES | cells)], common or {}, ignore=ignore)
    return task


@pytest.mark.parametrize(
    ("column", "cell", "value"),
    [
        ("spatial", "true", True),
        ("spatial", "spatial", True),
        ("spatial", "Constant", False),
        ("spatial", 1, True),
        ("spatial", False, False),
        ("kernel-at", "3 4.5", (3.0, 4.5)),
        ("kernel_at", [3, 4], (3.0, 4.0)),
        ("svar", "2e3", 2000.0),
        ("svar", 2, 2.0),
        ("svar", "measured", None),
        ("half_width", "9", 9),
        ("half_width", 9.0, 9),
        ("convolved", "auto", None),
        ("Convolved", "science", "science"),
        ("bad_planes", "sat,cr", ("SAT", "CR")),
        ("ext", 3, "3"),
        ("layout", "flat", "flat"),
        ("kernel", "k.fits[2]", "k.fits[2]"),
    ],
)
def test_cells_are_values_of_options(column: str, cell: Any, value: Any) -> None:
    task = _task(**{column: cell})
    name = column.lower().replace("-", "_")
    group = next(own for own in (task.inputs, task.options, task.output) if name in declared(type(own)))
    assert getattr(group, name) == value


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        ({"svar": "much"}, "svar must be a number of at least 0, not 'much'"),
        ({"svar": -1.0}, "svar must be"),
        ({"spatial": "perhaps"}, "spatial must be true or false"),
        ({"half_width": 3.5}, "half_width must be a whole number"),
        ({"kernel_at": "1"}, "kernel_at must be two numbers"),
        ({"layout": "round"}, "layout must be"),
        ({"kernle": "k.fits"}, "no option 'kernle'; did you mean 'kernel'.*--ignore-columns"),
        ({"sci": "other.fits"}, "two columns for science"),
        ({"spatial": True, "kernel_at": "1 2"}, "no meaning with spatial"),
        ({"difference": ""}, "no file"),
    ],
)
def test_rows_that_cannot_be_meant(cells: dict[str, Any], says: str) -> None:
    rows = [Row("m, row 1", {key: value for key, value in (IMAGES | cells).items() if value != ""})]
    says = "there is no difference" if "difference" in cells else says
    with pytest.raises(UsageError, match=f"m, row 1.*{says}"):
        tasks_of(rows, {})


def test_the_command_line_holds_where_a_row_says_nothing_else() -> None:
    common = shared(Options(spatial=True, tolerance=1e-4), InputOptions(kernel="{dir}/k_{ccd}.fits"),
                    OutputOptions(output="out/{visit}_{stem}.fits"), template="ref/{ccd}.fits")  # fmt: skip
    row = {"science": "s.fits", "difference": "night/d1.fits.fz[SCI]", "ccd": 7, "visit": "v", "spatial": "false"}
    (task,) = tasks_of([Row("m", row)], common)
    assert (task.template, task.inputs.kernel, task.path) == ("ref/7.fits", "night/k_7.fits", "out/v_d1.fits")
    assert (task.options.spatial, task.options.tolerance) == (False, 1e-4)
    # A brace in a row is a brace.
    assert _task(kernel="{x}.fits").inputs.kernel == "{x}.fits"
    with pytest.raises(UsageError, match=r"--kernel \{dir\}/k_\{ccd\}.fits: there is nothing for \{ccd\}; there are"):
        tasks_of([Row("m", IMAGES | {"visit": "v"})], common)


def test_columns_of_others_are_left_alone_if_it_is_said() -> None:
    with pytest.raises(UsageError, match="no option 'seeing'"):
        _task(seeing=1.1)
    assert _task(seeing=1.1, ignore=True) == _task()


def test_missing_images_are_told() -> None:
    with pytest.raises(UsageError, match=r"row 1: there is no template \(a column, or --template\)"):
        tasks_of([Row("m, row 1", {"science": "s", "difference": "d"})], {})


def test_clashes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    os.symlink("a", "b")
    first = IMAGES | {"output": "a/o.fits"}
    for other, says in (
        ({"output": "a/o.fits"}, "output of both row 1 and row 2"),
        ({"output": "b/o.fits"}, "output of both row 1 and row 2"),
        ({"output": "a/../a/x.fits", "science": "./a/o.fits"}, "would be the output of row 1, but row 2 reads it"),
        ({"output": "p.fits", "psf": "b/o.fits[1]"}, "would be the output of row 1, but row 2 reads it"),
        ({"output": "s.fits"}, "would be the output of row 2, but row 1 reads it"),
    ):
        with pytest.raises(UsageError, match=says):
            tasks_of([Row("m", first), Row("m", IMAGES | other)], {})
    # The companions of a layout with several files count, too.
    with pytest.raises(UsageError, match=r"a/o_mask.fits: would be the output of both"):
        tasks_of([Row("m", first | {"layout": "flat"}), Row("m", IMAGES | {"output": "a/o_mask.fits"})], {})


MANY: dict[str, Any] = {
    "kernel": "k é.fits", "spatial": True, "kernel_format": "grid", "convolved": "science", "svar": 0.1 + 0.2,
    "bad_planes": ("A", "B"), "replace_planes": (), "tolerance": 1.23456789e-5, "layout": "flat", "ext": "SCI",
    "output": "out dir/o.fits", "threads": 2, "noise": "local", "sci_warp": "cubic:n 1.fits; drizzle,0.5:n2.fits[1]",
}  # fmt: skip


@pytest.mark.parametrize("cells", [{}, MANY, {"kernel_at": (1 / 3, -2.0), "half_width": 9, "all_ext": True}])
def test_the_command_that_does_the_same(cells: dict[str, Any]) -> None:
    """What `decorr run` makes of it is the task."""
    task = _task(**cells)
    assert Task.of(json.loads(json.dumps(task.tree()))) == task
    context = run.make_context("run", task.command[2:])
    given = dict(context.params)
    assert (given["sci"], given["tmpl"], given["diff"]) == tuple(task.images.values())
    for group in (task.inputs, task.options):
        for name in declared(type(group)):
            assert given[name] == getattr(group, name), name
    assert (given["output"], given["layout"]) == (task.path, task.output.layout)


# Names


def test_parts_of_names() -> None:
    assert parts_of("a/b.fits.fz[SCI,2]") == {"dir": "a", "name": "b.fits.fz", "stem": "b"}
    assert parts_of("b.v1.fit") == {"dir": ".", "name": "b.v1.fit", "stem": "b.v1"}
    assert filled("{dir}/{stem}_x", parts_of("b.fits"), "--x") == "./b_x"


def test_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["n/v1/d_01.fits", "n/v1/d_02.fits", "n/v2/d_01.fits", "n/v2/x/d_3.fits", "n/v2/e_(1).fits", "v1/v1.fits"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    def found(pattern: str) -> list[str]:
        return [path for path, _ in matching(pattern)]

    assert found("n/*/d_*.fits") == names[:3]
    assert found("n/**/d_?.fits") == ["n/v2/x/d_3.fits"]
    assert found("n/v[!1]/d_*.fits") == ["n/v2/d_01.fits"]
    assert found("n/v2/e_(?).fits") == ["n/v2/e_(1).fits"]
    assert matching("n/{visit}/d_{ccd}.fits")[1] == ("n/v1/d_02.fits", {"visit": "v1", "ccd": "02"})
    assert found("{v}/{v}.fits") == ["v1/v1.fits"]
    with pytest.raises(UsageError, match=re.escape("--glob n/*.fits: no file matches")):
        matching("n/*.fits")


def test_outputs_of_others_are_no_differences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("d1.fits", "d1_decorr.fits", "d2.fits", "d2_decorr.fits"):
        (tmp_path / name).touch()
    tasks = tasks_matching("d*.fits", {"science": "s.fits", "template": "t.fits"})
    assert [task.difference for task in tasks] == ["d1.fits", "d2.fits"]
    assert [task.number for task in tasks] == [1, 2]
