"""What is to be done for each exposure: a row of the manifest, with what the command line says for all."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from diffim_decorr.batch.manifest import Row
from diffim_decorr.batch.names import filled, matching, parts_of
from diffim_decorr.batch.options import CompanionOptions
from diffim_decorr.declare import Declared, Option, declared, unknown_name
from diffim_decorr.errors import UsageError
from diffim_decorr.io.hdus import split_spec
from diffim_decorr.io.output.layouts import output_path, output_paths
from diffim_decorr.options import InputOptions, Options, OutputOptions

__all__ = ("Task", "shared", "tasks_matching", "tasks_of")

_IMAGES = {"science": "science", "sci": "science", "template": "template", "tmpl": "template",
           "difference": "difference", "diff": "difference"}  # fmt: skip
_GROUPS: tuple[type[Declared], ...] = (InputOptions, Options, OutputOptions, CompanionOptions)
_PICTURES = (".png", ".pdf", ".svg")
_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


@dataclass(frozen=True)
class Task:
    """One exposure.

    Parameters
    ----------
    number
        Its row, counted from 1.
    science, template, difference
        The images.
    inputs, options, output
        As of a run. With ``overwrite`` it is worked on whatever is there; with ``skip_existing``, only if there is
        nothing; else if what is there is not what would come out.
    companions
        What is made of the result besides.
    """

    number: int
    science: str
    template: str
    difference: str
    inputs: InputOptions
    options: Options
    output: OutputOptions
    companions: CompanionOptions = field(default_factory=CompanionOptions)

    @property
    def path(self) -> str:
        """Where the result goes, or the first file of it."""
        return output_path(self.output, self.difference)

    @property
    def paths(self) -> list[str]:
        """All files of the result."""
        return output_paths(self.path, self.output.layout)

    @property
    def written(self) -> list[str]:
        """All files that are written for it."""
        return [*self.paths, *self.companions.files]

    @property
    def images(self) -> dict[str, str]:
        """The images by what they are."""
        return {"science": self.science, "template": self.template, "difference": self.difference}

    @property
    def command(self) -> list[str]:
        """The command that does the same."""
        groups = (self.inputs, self.options, replace(self.output, output=self.path), self.companions)
        names = [f"./{name}" if name.startswith("-") else name for name in self.images.values()]
        return ["decorr", "run", *names, *(word for group in groups for word in _typed(group))]

    @property
    def line(self) -> str:
        """The same as it would be typed, without what has no meaning for the result."""
        return shlex.join(replace(self, output=replace(self.output, overwrite=False, skip_existing=False)).command)

    def tree(self) -> dict[str, Any]:
        """As JSON has it."""
        own = {
            "inputs": self.inputs,
            "options": self.options,
            "output": self.output,
            "companions": self.companions,
        }
        return {"number": self.number, **self.images, **{name: group.changed() for name, group in own.items()}}

    @classmethod
    def of(cls, tree: Mapping[str, Any]) -> Self:
        """From what `tree` made of one."""
        return cls(
            tree["number"],
            tree["science"],
            tree["template"],
            tree["difference"],
            InputOptions.of(tree["inputs"]),
            Options.of(tree["options"]),
            OutputOptions.of(tree["output"]),
            CompanionOptions.of(tree["companions"]),
        )


def _typed(group: Declared) -> Iterator[str]:
    """Options as they are typed, but for those that are as they would be anyway."""
    for name, value in group.changed().items():
        option = declared(type(group))[name]
        on, _, off = option.flag.partition("/")
        if option.kind == "flag":
            yield on if value else off
        elif option.kind == "point":
            yield from (on, *map(repr, value))
        elif option.kind == "texts":
            yield from (word for text in value for word in (on, text))
        else:
            yield from (on, repr(value) if option.kind == "float" else option.shown(value))


def shared(*groups: Declared, science: str | None = None, template: str | None = None) -> dict[str, Any]:
    """What the command line says for all exposures, by the names of options."""
    said: dict[str, Any] = {name: value for group in groups for name, value in group.changed().items()}
    images = {"science": science, "template": template}
    return said | {name: value for name, value in images.items() if value is not None}


def tasks_matching(pattern: str, common: Mapping[str, Any]) -> list[Task]:
    """The exposures whose difference matches a pattern; results of others that match it, too, are none.

    Raises
    ------
    UsageError
        As `tasks_of`, or if nothing matches.
    """
    rows = [Row(path, {"difference": path, **words}) for path, words in matching(pattern)]
    made = {file for row in rows for file in _task(0, row, common, True).paths}
    return tasks_of([row for row in rows if row.cells["difference"] not in made], common, ignore=True)


def tasks_of(rows: Iterable[Row], common: Mapping[str, Any], *, ignore: bool = False) -> list[Task]:
    """The exposures of a manifest.

    Parameters
    ----------
    rows
        What is said of each.
    common
        What holds where a row says nothing else. In names, ``{word}`` stands for what the row has in that column, and
        ``{dir}``, ``{name}`` and ``{stem}`` for parts of the difference's name.
    ignore
        Whether columns are left alone that are neither options nor used in a name.

    Raises
    ------
    UsageError
        If a row says what cannot be, or several would write to one file, or to one that another reads.
    """
    tasks = [_task(number, row, common, ignore) for number, row in enumerate(rows, 1)]
    _refuse_clashes(tasks)
    return tasks


def _task(number: int, row: Row, common: Mapping[str, Any], ignore: bool) -> Task:
    known = {name: option for group in _GROUPS for name, option in declared(group).items()}
    own: dict[str, Any] = {}
    parts: dict[str, str] = {}
    for column, cell in row.cells.items():
        name = column.lower().replace("-", "_")
        name = _IMAGES.get(name, name)
        if name in own:
            raise UsageError(f"{row.where}: there are two columns for {name}")
        if name in _IMAGES:
            own[name] = str(cell)
        elif name in known:
            own[name] = _value(known[name], cell, f"{row.where}: {column}")
        else:
            parts[column] = str(cell)
    if "difference" not in own:
        raise UsageError(f"{row.where}: there is no difference (columns science, template, difference)")
    used = set(re.findall(r"\{(\w+)\}", " ".join(map(str, common.values()))))
    for column in () if ignore else parts:
        if column not in used:
            near = unknown_name("option", column, [*_IMAGES, *known])
            raise UsageError(f"{row.where}: {near} (--ignore-columns leaves such columns alone)")
    parts = {**parts_of(own["difference"]), **parts}
    for name, value in common.items():
        called = f"--{name.replace('_', '-')}"
        if name in ("science", "template") or known[name].kind == "text":
            own.setdefault(name, filled(value, parts, called))
        elif known[name].kind in ("files", "texts") and value is not None:
            own.setdefault(name, tuple(filled(text, parts, called) for text in value))
        else:
            own.setdefault(name, value)
    for name in ("science", "template"):
        if name not in own:
            raise UsageError(f"{row.where}: there is no {name} (a column, or --{name})")
    inputs, options, output, companions = (_group(cls, own, row.where) for cls in _GROUPS)
    assert isinstance(inputs, InputOptions)
    assert isinstance(options, Options)
    assert isinstance(output, OutputOptions)
    assert isinstance(companions, CompanionOptions)
    _refuse_companions(companions, inputs, options, row.where)
    return Task(number, own["science"], own["template"], own["difference"], inputs, options, output, companions)


def _refuse_companions(companions: CompanionOptions, inputs: InputOptions, options: Options, where: str) -> None:
    """See that what is asked for can be made of the result."""
    if inputs.all_ext and companions.files:
        raise UsageError(f"{where}: plot, report and snr are of one exposure, not of all_ext")
    if options.score and companions.snr is not None:
        raise UsageError(f"{where}: snr has no meaning with score")
    for path, endings in ((companions.report, (".html", ".htm")), (companions.plot, _PICTURES)):
        if path is not None and not path.lower().endswith(endings):
            raise UsageError(f"{where}: {path}: must end in {', '.join(endings)}")


def _group(cls: type[Declared], own: Mapping[str, Any], where: str) -> Declared:
    try:
        return cls.of({name: own[name] for name in declared(cls) if name in own})
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error


def _value(option: Option, cell: Any, where: str) -> Any:
    """What a cell says of an option."""
    value: Any = cell
    try:
        if option.kind == "flag" and not isinstance(cell, bool):
            words = dict(zip(option.words or (), (False, True), strict=False))
            value = (words | _WORDS).get(str(cell).lower(), cell)
        elif option.kind in ("int", "float") and isinstance(cell, str) and cell != option.unset:
            value = int(cell) if option.kind == "int" else float(cell)
        elif option.kind == "int" and isinstance(cell, float) and cell.is_integer():
            value = int(cell)
        elif option.kind == "point" and isinstance(cell, str):
            value = [float(number) for number in cell.replace(",", " ").split()]
        elif option.kind in ("text", "choice") and not isinstance(cell, str):
            value = str(cell)
    except ValueError:
        raise UsageError(f"{where} must be {option.wanted}, not {cell!r}") from None
    return option.checked(value, called=where)


def _refuse_clashes(tasks: Sequence[Task]) -> None:
    """See that no two write to one file, and none to a file that another reads."""
    folders: dict[str, str] = {}

    def place(path: str) -> str:
        folder, name = os.path.split(path)
        if folder not in folders:
            folders[folder] = os.path.realpath(folder)
        return os.path.join(folders[folder], name)

    written: dict[str, Task] = {}
    for task in tasks:
        for path in task.written:
            other = written.setdefault(place(path), task)
            if other is task and task.written.count(path) > 1:
                raise UsageError(f"{path}: would be written twice by row {task.number}")
            if other is not task:
                raise UsageError(f"{path}: would be the output of both row {other.number} and row {task.number}")
    for task in tasks:
        for name in (*task.images.values(), *task.inputs.files):
            file = split_spec(name)[0] if name.endswith("]") else name
            if place(file) in written:
                number = written[place(file)].number
                raise UsageError(f"{file}: would be the output of row {number}, but row {task.number} reads it")
