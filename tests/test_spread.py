"""One image whose tiles are spread over workers: the same output, whatever the workers do."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import InputError, write_grid_kernel
from diffim_decorr.engine import spread
from diffim_decorr.errors import UsageError
from diffim_decorr.options import InputOptions, Options, OutputOptions
from diffim_decorr.record import Record
from diffim_decorr.run import decorrelate_files
from support.cluster import StartWorker, running_scheduler, running_workers
from support.command import ENVIRONMENT, OUT, decorr, quickly, refused, succeed
from support.files import INPUTS, gzipped, make_inputs
from support.kernels import gaussian
from support.nights import content, write_csv
from support.tiles import column_seams

SHAPE = (1000, 1900)
FILES = ("sci.fits", "tmpl.fits", "diff.fits")


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Inputs of several rows and columns of tiles, with masks and stars, and a kernel that varies."""
    folder = tmp_path_factory.mktemp("wide")
    assert len(column_seams(SHAPE)) == 2
    assert len(column_seams(SHAPE[::-1])) == 1
    make_inputs(folder, SHAPE)
    x, y = (axis.ravel() for axis in np.meshgrid([0, SHAPE[1] - 1], [0, SHAPE[0] - 1]))
    kernels = [gaussian(11, (sigma, 1.2), 30) for sigma in (1.0, 1.5, 1.2, 1.9)]
    write_grid_kernel(folder / "varying.fits", kernels, x, y)
    with fits.open(folder / "diff.fits", mode="update") as hdus:
        hdus[0].data[480:560, 1000:1003] = np.nan
        hdus[0].data[40:43, 500:503] += 5000  # worked on in double precision
        hdus[0].data[800, 1700] = 1e31  # larger than any pixel can be, which is said
    return folder


@pytest.fixture
def in_wide(wide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with links to them, which is the current one."""
    for path in wide.iterdir():
        os.link(path, tmp_path / path.name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


class _Future:
    """A task that is done when somebody asks for it."""

    def __init__(self, client: _Client, work: Callable[[], Any]) -> None:
        self._client, self._work = client, work

    def result(self, timeout: float) -> Any:
        if not self._client.threads:
            raise TimeoutError
        return pickle.loads(pickle.dumps(self._work()))

    def release(self) -> None:
        self._client.flying -= 1


class _Client:
    """A cluster within this process, to which everything goes as it would go to another."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.flying = self.most = self.count = 0

    def nthreads(self) -> dict[str, int]:
        return {"worker": self.threads} if self.threads else {}

    def submit(self, *task: Any, pure: bool) -> _Future:
        assert not pure
        sent = pickle.dumps(task)
        assert len(sent) < 1 << 20
        self.count += 1
        self.flying += 1
        self.most = max(self.most, self.flying)

        def work() -> Any:
            spread._prepared.cache_clear()
            function, *arguments = pickle.loads(sent)
            return function(*arguments)

        return _Future(self, work)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> _Client:
    """Takes the place of a cluster's."""
    fake = _Client(1)

    @contextmanager
    def client_of(scheduler: str, **settings: Any) -> Iterator[_Client]:
        yield fake

    monkeypatch.setattr(spread, "client_of", client_of)
    monkeypatch.setattr(spread, "_TILES", 1)
    return fake


def _run(output: str, *, kernel: str = "kernel.fits", progress: Any = None, **options: Any) -> Record:
    scheduler = options.pop("scheduler", None)
    inputs = InputOptions(kernel=kernel, **{name: options.pop(name) for name in ("sci_mask",) if name in options})
    made = OutputOptions(output=output, overwrite=True)
    return decorrelate_files(
        *FILES, inputs, Options(**options), made, scheduler=scheduler, progress=progress
    )[1]  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"kernel": "varying.fits", "spatial": True},
        {"kernel": "varying.fits", "spatial": True, "noise": "local", "calibrate": "local"},
        {"noise": "measured", "background": 64},
        {"kernel": "varying.fits", "variance": "estimate", "sci_gain": 2.0, "tmpl_gain": 3.0},
    ],
    ids=lambda options: ",".join(map(str, options.values())) or "constant",
)
def test_it_is_the_same(in_wide: Path, client: _Client, options: dict[str, Any]) -> None:
    """Pixels, mask, variance and figures, whatever the job is made of; and what is said of it."""
    here = _run("here.fits", **options)
    told: list[tuple[int, int]] = []
    there = _run("there.fits", scheduler="s", progress=lambda _, *steps: told.append(steps), **options)
    assert content(in_wide / "here.fits") == content(in_wide / "there.fits")
    assert here.warnings == there.warnings
    assert any("has pixels beyond" in warning for warning in there.warnings)
    assert client.count == 6
    assert (6, 6) in told


def test_few_are_begun_at_a_time(in_wide: Path, client: _Client) -> None:
    """However many tiles there are, two for each thread of the workers are on their way or wait for us."""
    _run("out.fits", scheduler="s")
    assert (client.most, client.flying) == (2, 0)
    client.threads = 2
    _run("out.fits", scheduler="s")
    assert (client.most, client.flying) == (4, 0)


@pytest.mark.parametrize(("most", "pieces"), [(1, [1] * 5), (2, [2, 1, 2]), (4, [2, 3]), (5, [5]), (9, [5])])
def test_pieces_are_of_about_a_size(monkeypatch: pytest.MonkeyPatch, most: int, pieces: list[int]) -> None:
    monkeypatch.setattr(spread, "_TILES", most)
    row: Any = list(range(5))
    found = list(spread._pieces(row))
    assert sorted(map(len, found)) == sorted(pieces)
    assert [tile for piece in found for tile in piece] == row


def _at(stage: str, change: Callable[[], None]) -> Callable[[str, int, int], None]:
    """Change something once some tile is done."""
    left = [change]

    def told(now: str, done: int, total: int) -> None:
        if now == stage and done and left:
            left.pop()()

    return told


def _replace() -> None:
    content = Path("sci.fits").read_bytes()
    Path("new.fits").write_bytes(content)
    os.replace("new.fits", "sci.fits")


def test_an_input_that_changes_or_goes(in_wide: Path, client: _Client) -> None:
    with pytest.raises(InputError, match=r"sci\.fits: has changed since it was opened"):
        _run("out.fits", scheduler="s", progress=_at("filter", _replace))
    with pytest.raises(InputError, match=r"/tmpl\.fits: cannot be read by the worker on .+: No such file"):
        _run("out.fits", scheduler="s", progress=_at("filter", lambda: os.unlink("tmpl.fits")))
    assert not list(in_wide.glob("*out*"))


def test_another_machine_has_another_number_for_the_file_system(in_wide: Path, client: _Client) -> None:
    """A file is the same there, unless anything else of it differs."""
    real = os.stat

    def elsewhere(*file: Any) -> Any:
        found = list(real(*file))
        found[2] += 1
        return os.stat_result(found, {"st_mtime_ns": real(*file).st_mtime_ns})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("diffim_decorr.images.planes.os.stat", elsewhere)
        plane = pickle.loads(pickle.dumps(_planes(in_wide)[0]))
    assert plane.read_all().shape == SHAPE
    _replace()
    with pytest.raises(InputError, match=r"sci\.fits: has changed"):
        plane.read_all()


def _planes(folder: Path) -> list[Any]:
    from diffim_decorr import read_exposure

    return [read_exposure(str(folder / name)).image_plane for name in FILES]


def test_another_version(in_wide: Path, client: _Client, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = client.submit

    def submit(*task: Any, pure: bool) -> _Future:
        monkeypatch.setattr(spread, "__version__", "0.0")
        return begun(*task, pure=pure)

    monkeypatch.setattr(client, "submit", submit)
    with pytest.raises(UsageError, match=r"the worker on .+ has decorr 0\.0, and this is "):
        _run("out.fits", scheduler="s")


def test_nobody_comes(in_wide: Path, client: _Client) -> None:
    client.threads = 0
    with pytest.raises(UsageError, match="--scheduler s: has no workers, and none came for 600 s"):
        _run("out.fits", scheduler="s")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("packed", ["gz", "fz"])
def test_what_is_compressed_is_refused(
    folder: Path, client: _Client, name: str, packed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once: each worker would unpack all of it."""
    monkeypatch.chdir(folder)
    path = folder / name
    if packed == "gz":
        gzipped(path).replace(path)
    else:
        with fits.open(path) as hdus:
            image = next(hdu for hdu in hdus if hdu.data is not None)
            fits.HDUList(
                [fits.PrimaryHDU(), fits.CompImageHDU(image.data, compression_type="GZIP_1", quantize_level=0)]
            ).writeto(path, overwrite=True)
    stages: list[str] = []
    with pytest.raises(UsageError, match=rf"{name}.*: is unpacked in memory, and workers read pixels from files"):
        _run("out.fits", scheduler="s", progress=lambda stage, *_: stages.append(stage))
    assert set(stages) == {"read"}


def test_all_extensions_are_refused(folder: Path) -> None:
    says = "--scheduler is for one large exposure, not for --all-ext"
    refused(folder, says, "run", *INPUTS, *OUT, "--all-ext", "--scheduler", "s.json", status=2)


def test_arrays_are_not_spread(folder: Path) -> None:
    from diffim_decorr import decorrelate

    more: Any = {"scheduler": "tcp://127.0.0.1:9"}
    with pytest.raises(TypeError, match="there is no option 'scheduler'"):
        decorrelate(*(str(folder / name) for name in (*FILES, "kernel.fits")), **more)


def test_without_dask(folder: Path) -> None:
    missing = folder / "modules"
    missing.mkdir()
    (missing / "distributed.py").write_text("raise ModuleNotFoundError('no distributed', name='distributed')\n")
    env = {**ENVIRONMENT, "PYTHONPATH": os.pathsep.join([str(missing), os.environ.get("PYTHONPATH", "")])}
    done = decorr(folder, "run", *INPUTS, *OUT, "--scheduler", "tcp://127.0.0.1:9", env=env)
    assert done.returncode == 1
    assert done.stderr == "Error: distributed is missing; pip install 'diffim-decorr[batch]' installs it\n"


# On a real cluster


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("--kernel", "varying.fits", "--spatial")], ids=["constant", "spatial"])
def test_on_a_cluster(in_wide: Path, scheduler: Path, workers: StartWorker, more: tuple[str, ...]) -> None:
    """What is made there is the same, made in the same way: nothing depends on where it was made."""
    workers(), workers()
    line = ("run", *INPUTS, *more, "-q")
    succeed(in_wide, *line, "-o", "here.fits")
    done = decorr(in_wide, *line, "-o", "there.fits", "--scheduler", scheduler)
    assert (done.returncode, done.stderr) == (0, "")
    here, there = content(in_wide / "here.fits"), content(in_wide / "there.fits")
    assert "--scheduler" in there[0][0].pop("DCCMD")
    del here[0][0]["DCCMD"]
    assert here == there

    recipes = [succeed(in_wide, "config", name).stdout for name in ("here.fits", "there.fits")]
    here_so, there_so = ([line for line in recipe.splitlines() if line[:1] != "#"] for recipe in recipes)
    assert here_so == there_so
    succeed(in_wide, "rerun", "there.fits", "-o", "again.fits")
    assert [pixels for _, pixels in content(in_wide / "again.fits")] == [pixels for _, pixels in there]
    row = dict(zip(("science", "template", "difference"), FILES, strict=True)) | {"output": "there.fits"}
    write_csv(in_wide / "night.csv", [row])
    told = json.loads(quickly(in_wide, "batch", "night.csv", *INPUTS[3:], *more, "--json").stdout)
    assert told["skipped"] == 1


@pytest.mark.slow
def test_a_worker_dies(in_wide: Path, scheduler: Path, workers: StartWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all that it has done and was at; another one comes, and does that again."""
    monkeypatch.setattr(spread, "_TILES", 1)
    _run("here.fits", spatial=True, kernel="varying.fits")
    first = workers()

    def replace() -> None:
        first.kill()
        first.wait()
        workers()

    told: list[int] = []

    def progress(stage: str, done: int, total: int) -> None:
        if stage == "filter" and done:
            told.append(done)
            if done == 2:
                replace()

    _run("there.fits", spatial=True, kernel="varying.fits", scheduler=str(scheduler), progress=progress)
    assert told == [1, 2, 3, 4, 5, 6]
    assert content(in_wide / "here.fits") == content(in_wide / "there.fits")


@pytest.mark.slow
def test_a_worker_sees_what_is_wrong(in_wide: Path, scheduler: Path, workers: StartWorker, tmp_path: Path) -> None:
    """An input that changes ends in one line, and so does a worker of another version."""
    worker = workers()
    with pytest.raises(InputError, match=r"sci\.fits: has changed since it was opened"):
        _run("out.fits", scheduler=str(scheduler), progress=_at("psi", _replace))
    worker.terminate()
    worker.wait()
    (tmp_path / "old.py").write_text("import diffim_decorr._version as v\n\nv.__version__ = '0.0'\n")
    workers("--preload", tmp_path / "old.py")
    done = decorr(in_wide, "run", *INPUTS, *OUT, "-q", "--scheduler", scheduler)
    assert done.returncode == 2
    assert "has decorr 0.0, and this is " in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(in_wide.glob("*out*"))


@pytest.mark.slow
def test_workers_without_decorr(in_wide: Path, scheduler: Path, workers: StartWorker) -> None:
    """Of the same name, but without what it takes; nobody waits for them."""
    (in_wide / "other" / "diffim_decorr").mkdir(parents=True)
    (in_wide / "other" / "diffim_decorr" / "__init__.py").touch()
    workers(path=in_wide / "other")
    done = decorr(in_wide, "run", *INPUTS, *OUT, "-q", "--scheduler", scheduler)
    assert done.returncode == 2
    assert "a worker has no decorr " in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_workers_that_die_one_after_the_other(in_wide: Path, scheduler: Path, workers: StartWorker) -> None:
    (in_wide / "dies.py").write_text(
        "import os\nfrom diffim_decorr.engine import spread\nspread._prepared = lambda sent: os._exit(1)\n"
    )
    for _ in range(4):
        workers("--preload", in_wide / "dies.py")
    with pytest.raises(RuntimeError, match="the workers that had some tiles died, one after the other"):
        _run("out.fits", scheduler=str(scheduler))


@pytest.mark.slow
def test_the_scheduler_goes(in_wide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dask

    monkeypatch.setattr(spread, "_TILES", 1)
    file = in_wide / "s.json"
    with running_scheduler(file) as process, running_workers(file, in_wide) as start:
        start()
        with (
            dask.config.set({"distributed.comm.timeouts.connect": "2s"}),
            pytest.raises(RuntimeError, match=r"the scheduler .*s\.json is gone"),
        ):
            _run("out.fits", scheduler=str(file), progress=_at("filter", process.kill))
    assert not list(in_wide.glob("*out*"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("nowhere.json", "--scheduler nowhere.json: is neither an address, as tcp://host:8786, nor a file"),
        ("tcp://127.0.0.1:9", "--scheduler tcp://127.0.0.1:9: cannot be reached: "),
    ],
)
def test_no_cluster_there(folder: Path, place: str, says: str) -> None:
    patience = ENVIRONMENT | {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "1s"}

    def run(where: Path, *args: object) -> Any:
        return decorr(where, *args, env=patience)

    refused(folder, says, "run", *INPUTS, *OUT, "--scheduler", place, status=2, run=run)
