"""The notebook runs, and shows what it says."""

from __future__ import annotations

from typing import Any

import nbformat
import pytest

from support.project import ROOT, output_of

pytestmark = pytest.mark.slow

_NOTEBOOK = ROOT / "examples" / "notebook.ipynb"


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The cells with what they put out; nbclient ends with an error where one of them does."""
    folder = tmp_path_factory.mktemp("notebook")
    (folder / "notebook.ipynb").write_bytes(_NOTEBOOK.read_bytes())
    output_of("jupyter", "execute", "--timeout=60", "--output=run.ipynb", "notebook.ipynb", cwd=folder)
    return [cell for cell in nbformat.read(folder / "run.ipynb", as_version=4).cells if cell.cell_type == "code"]


def _shown(cells: list[Any], kind: str) -> list[str]:
    return [out.data[kind] for cell in cells for out in cell.outputs if kind in out.get("data", {})]


def test_pictures_are_inline(cells: list[Any]) -> None:
    assert len(_shown(cells, "image/png")) == 2


def test_what_is_shown(cells: list[Any]) -> None:
    """The verdict and figures of the result, the scatter of the CCDData, the shape of what came of dask, the peaks."""
    # Nothing warned: what is whitened is what the images and their variances say.
    assert [out.text for cell in cells for out in cell.outputs if out.get("name") == "stderr"] == []
    figures, of_dask, peaks = _shown(cells, "text/html")
    assert "max_abs_rho" in figures
    assert "max_abs_rho" in of_dask
    assert peaks.count("<tr") - 2 >= 4  # sources, below the names and units
    (printed,) = [out.text for cell in cells for out in cell.outputs if out.output_type == "stream"]
    before, _, scatter = printed.strip().rpartition(" ")
    assert before.startswith("CCDData in adu")
    assert 0.95 < float(scatter) < 1.05


def test_nothing_that_was_put_out_is_kept() -> None:
    notebook = nbformat.read(_NOTEBOOK, as_version=4)
    assert all(not cell.outputs and cell.execution_count is None for cell in notebook.cells if cell.cell_type == "code")
