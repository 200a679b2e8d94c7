"""Options are declared once, and everything else follows from that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import Options, UsageError, decorrelate
from diffim_decorr.cli.apply import apply
from diffim_decorr.cli.kernel import convert, show
from diffim_decorr.cli.run import run
from diffim_decorr.cli.simulate import simulate
from diffim_decorr.declare import Declared, declared
from diffim_decorr.options import ApplyOptions, CommandOptions, InputOptions, KernelOptions, OutputOptions
from diffim_decorr.simulate.options import SimulationOptions
from support.command import told
from support.files import INPUTS
from support.kernels import gaussian
from support.noise import noise_images

RUN = (InputOptions, Options, OutputOptions, CommandOptions)
GROUPS = (*RUN, ApplyOptions, KernelOptions, SimulationOptions)

WRONG: dict[str, tuple[Any, str]] = {
    "threads": (2.5, "threads must be a whole number from 1 to 4096, not 2.5"),
    "half_width": (2.5, "half_width must be a whole number from 1 to 250, not 2.5"),
    "bad_fraction": (2, "bad_fraction must be a number from 0 to 1, not 2"),
    "tolerance": (float("nan"), "tolerance must be a number from 1e-07 to 0.1, not nan"),
    "max_gain": ("much", "max_gain must be a number from 1 to 1e.12, not 'much'"),
    "svar": (True, "svar must be a number of at least 0"),
    "spatial": (1, "spatial must be true or false, not 1"),
    "kernel_at": ((1.0,), "kernel_at must be two numbers"),
    "convolved": ("both", "convolved must be auto, template or science, not 'both'"),
    "noise": (None, "noise must be white, measured or local, not None"),
    "bad_planes": (3, "bad_planes must be names of mask planes"),
}


@pytest.mark.parametrize("name", WRONG)
def test_values_that_cannot_be(name: str) -> None:
    value, says = WRONG[name]
    with pytest.raises(UsageError, match=says):
        Options.of({name: value})


def test_values_take_one_form() -> None:
    assert Options(replace_planes="SAT").replace_planes == ("SAT",)
    assert Options(bad_planes="sat, CR").bad_planes == ("SAT", "CR")
    assert Options(bad_planes="none").bad_planes == ()
    assert Options(convolved="auto").convolved is None
    assert type(Options(svar=np.float32(2)).svar) is float
    assert type(Options(threads=np.int64(2)).threads) is int
    assert Options(threads=3).changed() == {"threads": 3}
    assert repr(Options(threads=3)) == "Options(threads=3)"


def test_a_misspelt_option_names_the_nearest() -> None:
    kernel = gaussian(9, 1.0)
    with pytest.raises(TypeError, match="there is no option 'tolerence'; did you mean 'tolerance'"):
        decorrelate(*noise_images(1, (60, 70), kernel, 1.0, 1.0), kernel, tolerence=1e-3)


@pytest.mark.parametrize("group", GROUPS)
def test_declarations_are_whole(group: type[Declared]) -> None:
    for name, option in declared(group).items():
        assert option.help.endswith("."), name
        assert len(option.card) <= (7 if option.kind == "point" else 8), name
        assert f"    {name}\n" in (group.__doc__ or ""), name


def test_cards_are_different() -> None:
    cards = [option.card for group in RUN for option in declared(group).values() if option.card]
    assert len(cards) == len(set(cards))


@pytest.mark.parametrize(
    ("command", "groups", "own"),
    [
        (run, RUN, {"sci", "tmpl", "diff", "config"}),
        (apply, (ApplyOptions,), {"image", "config", "output", "overwrite", "skip_existing", "json", "quiet"}),
        (simulate, (SimulationOptions,), {"outdir", "overwrite", "json", "quiet"}),
    ],
)
def test_the_command_line_has_what_is_declared(
    command: click.Command, groups: tuple[type[Declared], ...], own: set[str]
) -> None:
    names = {name for group in groups for name in declared(group)}
    assert {parameter.name for parameter in command.params} == names | own


def test_the_kernel_commands_have_theirs() -> None:
    names = {parameter.name for command in (show, convert) for parameter in command.params}
    assert names == {*declared(KernelOptions), "file", "output"}


def test_every_option_is_recorded(folder: Path) -> None:
    """In JSON and in the header, the defaults as well."""
    said = told(folder, "run", *INPUTS, "--tolerance", "2e-3", "-o", "out.fits")
    assert {"schema", "version", "output", "inputs", "options", "mode", "noise", "psi", "qa", "timings"} <= set(said)
    header = fits.getheader(folder / "out.fits")
    for group in RUN:
        for name, option in declared(group).items():
            assert name in said["options"]
            if option.card:
                cards = [option.card + axis for axis in "XY"] if option.kind == "point" else [option.card]
                assert all(card in header for card in cards), name
    assert said["options"]["tolerance"] == header["DCTOLER"] == 2e-3
    assert said["options"]["node_spacing"] == header["DCNSPACE"] == 256
    assert (said["options"]["half_width"], header["DCOHWID"]) == (None, "by the tolerance")
    assert (said["options"]["kernel_at"], header["DCKATX"]) == (None, "centre")
    json.dumps(said, allow_nan=False)
