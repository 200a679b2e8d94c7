"""What is written from declarations is up to date, and words that are declared as types are those there are."""

from __future__ import annotations

from typing import get_args

import pytest

from diffim_decorr import Options
from diffim_decorr._keywords import OptionKeywords
from diffim_decorr.declare import declared
from diffim_decorr.io.kernels.registry import FORMATS
from diffim_decorr.io.output.layouts import LAYOUTS
from diffim_decorr.noise.models import MODELS
from diffim_decorr.options import KernelFormat, LayoutName, NoiseModelName
from support.project import ROOT, load_script


def test_tables_are_up_to_date() -> None:
    """`make tables` would change nothing."""
    for path, text in load_script(ROOT / "tools" / "tables.py").written().items():
        assert path.read_text("utf-8") == text, path.name


def test_keywords_are_the_options() -> None:
    assert set(OptionKeywords.__annotations__) == set(declared(Options))


@pytest.mark.parametrize(
    ("words", "there_are"),
    [(KernelFormat, [known.name for known in FORMATS]), (LayoutName, LAYOUTS), (NoiseModelName, MODELS)],
)
def test_words_are_those_that_are_known(words: object, there_are: object) -> None:
    assert set(get_args(words)) == set(there_are)  # type: ignore[call-overload]
