"""Write what follows from the declarations of options: the keywords' types, the tables of the documentation.

`make tables` runs this; a test fails where what it would write is not what is there.
"""

from __future__ import annotations

import sys
from pathlib import Path

from diffim_decorr.batch.options import BatchOptions
from diffim_decorr.declare import Declared, Option, by_section, declared
from diffim_decorr.options import (
    ApplyOptions,
    CommandOptions,
    InputOptions,
    KernelOptions,
    MeasureOptions,
    Options,
    OutputOptions,
    SnrOptions,
)
from diffim_decorr.simulate.options import SimulationOptions

ROOT = Path(__file__).resolve().parents[1]
_KEYWORDS = '''"""Types of the keywords of `decorrelate`, for type checkers. Written by `make tables`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypedDict

__all__ = ("OptionKeywords",)


class OptionKeywords(TypedDict, total=False):
    """Fields of `Options`."""

'''


def keywords() -> str:
    """The module with the types of the keywords."""
    lines = [f"    {name}: {_annotation(option)}\n" for name, option in declared(Options).items()]
    return _KEYWORDS + "".join(lines)


def _annotation(option: Option) -> str:
    words = ", ".join(f'"{word}"' for word in option.words_to_choose)
    plain = {
        "flag": "bool",
        "int": "int",
        "float": "float",
        "choice": f"Literal[{words}]",
        "names": "Sequence[str] | str",
        "files": "Sequence[str] | str",
        "point": "tuple[float, float]",
        "text": "str",
    }[option.kind]
    return plain + (" | None" if option.default is None and not option.required else "")


def options_table(*groups: type[Declared]) -> str:
    """Tables of options by topic: as typed, meaning, default. Of one topic its name is not said."""
    options = [option for group in groups for option in declared(group).values()]
    topics = by_section(options, lambda option: option.section)
    tables = []
    for section, listed in topics.items():
        head = f"**{section}**\n\n" if len(topics) > 1 else ""
        rows = "\n".join(map(_row, listed))
        tables.append(f"{head}| option | meaning | default |\n| --- | --- | --- |\n{rows}\n")
    return "\n".join(tables)


def _row(option: Option) -> str:
    names = [*([option.short] if option.short else []), *option.flag.split("/")]
    typed = ", ".join(f"`{_with_value(name, option)}`" for name in names)
    default = "required" if option.required else option.shown_default
    return f"| {typed} | {_escaped(option.help)} | {_escaped(default)} |"


def cards_table(*groups: type[Declared]) -> str:
    """A table of the cards that record options."""
    rows = ["| card | option |", "| --- | --- |"]
    for option in (option for group in groups for option in declared(group).values()):
        if option.card:
            unset = f", or `{option.shown(None)}`" if option.default is None and not option.required else ""
            cards = ", ".join(f"`{card}`" for card in _cards(option))
            rows.append(f"| {cards} | `{option.flag.split('/')[0]}`{_escaped(unset)} |")
    return "\n".join(rows) + "\n"


def _with_value(name: str, option: Option) -> str:
    if option.kind == "flag":
        return name
    value = _escaped(option.metavar) or "\\|".join(option.words_to_choose) or "N"
    return f"{name} {value}"


def _cards(option: Option) -> list[str]:
    return [f"{option.card}X", f"{option.card}Y"] if option.kind == "point" else [option.card]


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


TABLES = {
    "run": (InputOptions, Options, OutputOptions, CommandOptions),
    "batch": (BatchOptions,),
    "apply": (ApplyOptions, OutputOptions, CommandOptions),
    "kernel": (KernelOptions,),
    "snr": (SnrOptions,),
    "measure": (MeasureOptions,),
    "simulate": (SimulationOptions,),
}


def filled(text: str) -> str:
    """A page with its tables as the declarations say, after ``<!-- options: NAME -->`` or ``<!-- cards: NAME -->``."""
    for name, groups in TABLES.items():
        for kind, table in (("options", options_table), ("cards", cards_table)):
            begin, end = f"<!-- {kind}: {name} -->\n", "<!-- end -->"
            if begin in text:
                before, _, rest = text.partition(begin)
                _, _, after = rest.partition(end)
                text = f"{before}{begin}\n{table(*groups)}\n{end}{after}"
    return text


def written() -> dict[Path, str]:
    """What each file is to hold."""
    files = {ROOT / "diffim_decorr" / "_keywords.py": keywords()}
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        files[page] = filled(page.read_text(encoding="utf-8"))
    return files


def main() -> int:
    changed = [path for path, text in written().items() if not path.exists() or path.read_text("utf-8") != text]
    for path in changed:
        path.write_text(written()[path], encoding="utf-8")
        print(path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
