"""How an output was made, read back from its header, so that it can be made again."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from diffim_decorr.declare import Declared, Option, declared
from diffim_decorr.errors import InputError, UsageError, plain
from diffim_decorr.io.fingerprint import fingerprint
from diffim_decorr.io.hdus import open_fits, split_spec
from diffim_decorr.options import InputOptions, Options, OutputOptions

__all__ = ("Recipe", "recipe_of")

_Group = TypeVar("_Group", bound=Declared)
_IMAGES = {"science": "DCSCI", "template": "DCTMPL", "difference": "DCDIFF"}


@dataclass(frozen=True)
class Recipe:
    """What it takes to make an output again.

    Parameters
    ----------
    source
        The output.
    images
        Names of science image, template and difference, as they were given.
    inputs, options, output
        Every option.
    version
        Of decorr.
    command
        The command line; empty if it was made from Python.
    prints
        Fingerprint of each file that was read, by its name.
    """

    source: str
    images: Mapping[str, str]
    inputs: InputOptions
    options: Options
    output: OutputOptions
    version: str
    command: str
    prints: Mapping[str, str]

    def toml(self) -> str:
        """The options as a file for ``--config``, with all else as comments."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield f"# How {plain(self.source)} was made, by decorr {self.version}."
        if self.command:
            yield f"# Command: {plain(self.command)}"
        yield f"# decorr run {plain(' '.join(self.images.values()))} --config THIS-FILE"
        for name, value in self.prints.items():
            yield f"# {plain(name)}: {value}"
        for group in (self.inputs, self.options, self.output):
            for name, option in declared(type(group)).items():
                if option.card:
                    yield _line(name, option, getattr(group, name))

    def found(self) -> Recipe:
        """The same with files that are looked for from here, or else beside the output.

        Raises
        ------
        InputError
            If one is in neither place.
        """
        changed: dict[str, Any] = {}
        for name, option in declared(InputOptions).items():
            value = getattr(self.inputs, name)
            if option.names_file and value is not None:
                changed[name] = [self._place(file) for file in value] if option.kind == "files" else self._place(value)
            elif option.repeated:
                pairs = (warp.partition(":") for warp in value)
                changed[name] = tuple(f"{kind}:{self._place(native)}" for kind, _, native in pairs)
        images = {role: self._place(file) for role, file in self.images.items()}
        # The names of the images say which HDU was taken.
        return replace(self, images=images, inputs=replace(self.inputs, ext=None, **changed))

    def _place(self, spec: str) -> str:
        path = split_spec(spec)[0]
        if os.path.exists(path):
            return spec
        beside = os.path.join(os.path.dirname(self.source), spec)
        if os.path.exists(split_spec(beside)[0]):
            return beside
        raise InputError(f"{self.source}: was made of {spec}, which is neither here nor beside it")

    def changes(self) -> list[str]:
        """Which of the files are not the ones that were read, or cannot be told."""
        said = []
        for name, stored in self.prints.items():
            path = split_spec(self._place(name))[0]
            if fingerprint(path) != stored:
                said.append(f"{path}: is not the file that {self.source} was made of")
        return said


def recipe_of(path: str) -> Recipe:
    """Read how an output of a run was made.

    Raises
    ------
    InputError
        If it is no output of a run on three files.
    """
    with open_fits(path) as hdus:
        header = hdus[0].header
        if "DCVERS" not in header or "DCDIFF" not in header:
            raise InputError(f"{path}: is no output of decorr run (it has no cards DCVERS and DCDIFF)")
        if header.get("DCNEXT"):
            raise InputError(f"{path}: holds several exposures; the card DCCMD has the command that made them")
        cards: dict[str, Any] = dict(header.items())
    prints = {}
    for k in range(1, 1000):
        if f"DCSUM{k}" not in cards:
            break
        value, _, name = str(cards[f"DCSUM{k}"]).partition(" ")
        prints[name] = value
    return Recipe(
        path,
        {role: str(cards[card]) for role, card in _IMAGES.items()},
        _group(InputOptions, cards, path),
        _group(Options, cards, path),
        _group(OutputOptions, cards, path),
        str(cards["DCVERS"]),
        str(cards.get("DCCMD", "")),
        prints,
    )


def _group(cls: type[_Group], cards: Mapping[str, Any], path: str) -> _Group:
    try:
        return cls(**{name: _value(option, cards) for name, option in declared(cls).items()})
    except UsageError as error:
        raise InputError(f"{path}: its header records what cannot be: {error}") from error


def _value(option: Option, cards: Mapping[str, Any]) -> Any:
    """An option as the header has it, see `io.output.provenance.option_cards`."""
    if option.kind == "point":
        both = [cards.get(f"{option.card}{axis}") for axis in "XY"]
        return None if any(value is None or isinstance(value, str) for value in both) else tuple(both)
    value = cards.get(option.card) if option.card else None
    if value is None:
        return option.default
    if option.words:
        return value == option.words[1]
    return option.default if option.default is None and value == option.shown(None) else value


def _line(name: str, option: Option, value: Any) -> str:
    key = name.replace("_", "-")
    if value is None:
        return f"# {key}: {option.shown(None)}"
    if option.kind == "names":
        value = option.shown(value)
    return f"{key} = {json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)}"
