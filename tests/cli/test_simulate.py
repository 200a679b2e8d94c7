"""``decorr simulate``."""

from __future__ import annotations

import json

import pytest
from astropy.io import fits
from click.testing import CliRunner

from diffim_decorr import InputError
from diffim_decorr.cli.simulate import simulate as command
from diffim_decorr.simulate.files import FILES


def test_command(tmp_path):
    arguments = [str(tmp_path / "out"), "--size", "96x128", "--stars", "20", "--kernel-width", "13", "--tvar", "7"]
    result = CliRunner().invoke(command, [*arguments, "--json"], catch_exceptions=False)
    report = json.loads(result.stdout)
    assert report["parameters"]["size"] == [96, 128]
    assert report["parameters"]["tvar"] == 7.0
    assert sorted(report["files"]) == sorted(FILES)
    assert fits.getdata(report["files"]["science"], "IMAGE").shape == (96, 128)
    with pytest.raises(InputError, match="exists already"):
        CliRunner().invoke(command, arguments, catch_exceptions=False)
    quiet = CliRunner().invoke(command, [*arguments, "--overwrite", "-q"], catch_exceptions=False)
    assert quiet.stdout == ""
    told = CliRunner().invoke(command, [*arguments, "--overwrite", "--gain", "inf"], catch_exceptions=False)
    assert "--spatial" in told.stdout.splitlines()[-1]
    assert CliRunner().invoke(command, [str(tmp_path), "--size", "1x2x3"]).exit_code == 2
