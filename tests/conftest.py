"""Files and results that several tests share; they are made once and must not be changed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("support")

from diffim_decorr.simulate.scene import Simulation, simulate  # noqa: E402
from support.cluster import StartWorker, running_scheduler, running_workers  # noqa: E402
from support.command import succeed  # noqa: E402
from support.field import SHAPE, Field  # noqa: E402
from support.files import INPUTS, make_inputs  # noqa: E402
from support.hotpants import hotpants_kernel  # noqa: E402
from support.psi_runs import make_psi_runs  # noqa: E402
from support.simulation import SMALL  # noqa: E402
from support.survey import write_survey  # noqa: E402


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """For an image."""
    return tmp_path / "image.fits"


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A science image, a template, their difference, its kernel and PSFs."""
    folder = tmp_path_factory.mktemp("inputs")
    make_inputs(folder)
    return folder


@pytest.fixture
def folder(inputs: Path, tmp_path: Path) -> Path:
    """A copy of them that may be changed."""
    shutil.copytree(inputs, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture(scope="session")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The inputs, and what is made of them."""
    folder = tmp_path_factory.mktemp("outputs")
    make_inputs(folder)
    (folder / "made").mkdir()
    for name, options in (("constant", ()), ("spatial", ("--spatial",)), ("packed", ()), ("zipped", ())):
        ending = {"packed": ".fz", "zipped": ".gz"}.get(name, "")
        args = (*INPUTS, "--psf", "psf.fits", "--json", *options, "-o", f"made/{name}.fits{ending}")
        done = succeed(folder, "run", *args)
        assert done.stderr == ""
        (folder / f"{name}.json").write_text(done.stdout)
    return folder


@pytest.fixture(params=["constant.fits", "spatial.fits", "packed.fits.fz", "zipped.fits.gz"])
def made(outputs: Path, request: pytest.FixtureRequest) -> Path:
    """Each of the outputs."""
    return outputs / "made" / request.param


@pytest.fixture(scope="session")
def survey(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files as a survey has them."""
    return write_survey(tmp_path_factory.mktemp("survey"))


@pytest.fixture(scope="session")
def psi_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Inputs of two tiles and what several runs make of them."""
    folder = tmp_path_factory.mktemp("psi_runs")
    make_psi_runs(folder)
    return folder


@pytest.fixture(scope="session")
def field(tmp_path_factory: pytest.TempPathFactory) -> Field:
    """A difference of two tiles whose kernel varies, and its exact decorrelation."""
    return Field(hotpants_kernel(SHAPE, seed=1), tmp_path_factory.mktemp("field") / "diff.fits", 1.0, 2.0, seed=41)


@pytest.fixture(scope="session")
def small() -> Simulation:
    """A small simulation."""
    return simulate(SMALL)


@pytest.fixture(scope="session")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The file in which a scheduler of Dask says where it is."""
    file = tmp_path_factory.mktemp("scheduler") / "scheduler.json"
    with running_scheduler(file):
        yield file


@pytest.fixture
def workers(scheduler: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartWorker]:
    """Starts a worker of it."""
    with running_workers(scheduler, tmp_path_factory.mktemp("workers")) as start:
        yield start
