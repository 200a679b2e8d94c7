"""How options are declared: once, as fields of frozen dataclasses, from which everything else about them follows.

A field says its default, its limits, what it means, what its value is called, and the card of an output's header that
records it. Checks, options of the command line, TOML files, header cards, JSON and the tables of the documentation are
made from that.
"""

from __future__ import annotations

import difflib
import math
import operator
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self, TypeVar, get_args, get_origin, get_type_hints

from diffim_decorr.errors import UsageError

__all__ = (
    "SECTIONS",
    "SEPARATOR",
    "Declared",
    "Kind",
    "Option",
    "Section",
    "again",
    "by_section",
    "declared",
    "documented",
    "option",
    "unknown_name",
)

#: Between several texts in one line.
SEPARATOR = "; "
#: Topics of options, in the order in which they are listed.
Section = Literal[
    "Matching kernel", "Decorrelation kernel", "Images", "Exposures", "PSF and kernel", "Sources", "Noise", "Whitening",
    "Missing pixels", "Point source", "Fluxes", "Peaks", "Work", "Quality", "Output", "Threads and memory", "Messages",
    "General",
]  # fmt: skip
SECTIONS: tuple[Section, ...] = get_args(Section)
Kind = Literal["flag", "int", "float", "choice", "names", "files", "point", "shape", "text", "texts"]


@dataclass(frozen=True)
class Option:
    """What is declared of one option.

    Parameters
    ----------
    name
        As in Python; with dashes on the command line.
    kind
        Of its values: ``names`` are a tuple of words, ``files`` one of names of files, a ``point`` two numbers, a
        ``shape`` a number of pixels along y and x, ``texts`` a tuple of texts, for which the option is repeated.
    default
        Its value if nothing is said; None where that is found out (see `unset`).
    help
        What it does, one or two sentences.
    low, high
        Limits of a number.
    positive
        Whether a number must be greater than 0.
    infinite
        Whether infinity is a value, too.
    choices
        The words that may be chosen.
    pattern, form
        Regular expression of a text, or of each of several, and what that is in words.
    unset
        What None is called: on the command line, in headers and in the documentation.
    required
        Whether something has to be said.
    metavar
        What its value is called.
    flags, short
        On the command line: a pair of a flag that is set and one that unsets it, and a short name.
    card, comment
        The card of the header that records it, and its comment; a point has two cards, ending in X and Y.
    words
        What a flag is called in the header where it is off and on.
    repeated
        Whether it may be given several times.
    section
        The topic that it belongs to; help and documentation list options by topic.
    writes
        Whether its value is the name of a file that is written.
    """

    name: str
    kind: Kind
    default: Any
    help: str
    low: float = -math.inf
    high: float = math.inf
    positive: bool = False
    infinite: bool = False
    choices: tuple[str, ...] = ()
    pattern: str = ""
    form: str = "a string"
    unset: str = ""
    required: bool = False
    metavar: str = ""
    flags: str = ""
    short: str = ""
    card: str = ""
    comment: str = ""
    words: tuple[str, str] | None = None
    repeated: bool = False
    section: Section = "General"
    writes: bool = False

    @property
    def flag(self) -> str:
        """Its long name on the command line."""
        return self.flags or f"--{self.name.replace('_', '-')}"

    @property
    def names_file(self) -> bool:
        """Whether its value is the name of a file that is read."""
        return self.kind in ("text", "files") and self.metavar.startswith("FILE")

    @property
    def names_path(self) -> bool:
        """Whether its value is the name of a file, or a list of them."""
        return self.names_file or self.writes

    @property
    def words_to_choose(self) -> tuple[str, ...]:
        """The choices, with the word that stands for None if there is one."""
        return ((self.unset,) if self.unset and " " not in self.unset else ()) + self.choices

    @property
    def shown_default(self) -> str:
        """The default as a user would type it."""
        return self.shown(self.default)

    def shown(self, value: Any) -> str:
        """A value as a user would type it."""
        if value is None:
            return self.unset or "none"
        if self.kind == "flag":
            return (self.words or ("off", "on"))[value]
        if self.kind == "names":
            return ",".join(value) or "none"
        if self.kind == "files":
            return ",".join(value)
        if self.kind == "texts":
            return SEPARATOR.join(value) or "none"
        if self.kind == "point":
            return f"{value[0]:g} {value[1]:g}"
        if self.kind == "shape":
            return str(value[0]) if value[0] == value[1] else f"{value[0]}x{value[1]}"
        return f"{value:g}" if self.kind == "float" else str(value)

    def checked(self, value: Any, called: str = "") -> Any:
        """A value in the form that is worked with.

        Parameters
        ----------
        value
            What was given.
        called
            What to call the option in messages; its name by default.

        Raises
        ------
        UsageError
            If it is of another type, or out of its limits.
        """
        called = called or self.name
        if value is None or (self.unset and isinstance(value, str) and value == self.unset):
            if self.default is None and not self.required:
                return None
            raise UsageError(f"{called} must be {self.wanted}, not None")
        usable = self._converted(value)
        if usable is None:
            raise UsageError(f"{called} must be {self.wanted}, not {value if isinstance(value, Real) else repr(value)}")
        return usable

    @property
    def wanted(self) -> str:
        """What a value must be, in words."""
        if self.kind in ("int", "float"):
            what = "a whole number" if self.kind == "int" else "a number"
            if self.high < math.inf:
                return f"{what} from {self.low:g} to {self.high:g}"
            if self.positive:
                return f"{what} greater than 0"
            return f"{what} of at least {self.low:g}" if self.low > -math.inf else what
        if self.kind == "choice":
            *others, last = self.words_to_choose
            return f"{', '.join(others)} or {last}"
        return {
            "flag": "true or false",
            "names": "names of mask planes, or none",
            "files": "names of files",
            "point": "two numbers",
            "shape": f"a number of pixels from {self.low:g} to {self.high:g}, or NYxNX",
            "text": self.form,
            "texts": self.form,
        }[self.kind]

    def _converted(self, value: Any) -> Any:
        """The value in the type that is worked with; None if it cannot be that."""
        if self.kind == "flag":
            # numpy's booleans are meant, numbers are not.
            return bool(value) if isinstance(value, bool) or type(value).__name__ in ("bool_", "bool") else None
        if self.kind in ("int", "float"):
            if isinstance(value, bool) or not isinstance(value, Integral if self.kind == "int" else Real):
                return None
            number = operator.index(value) if isinstance(value, Integral) and self.kind == "int" else float(value)
            usable = math.isfinite(number) or (self.infinite and number == math.inf)
            usable &= number > 0 or not self.positive
            return number if usable and self.low <= number <= self.high else None
        if self.kind == "choice":
            return value if isinstance(value, str) and value in self.choices else None
        if self.kind == "names":
            return _names(value)
        if self.kind == "files":
            return _files(value)
        if self.kind == "point":
            return _point(value)
        if self.kind == "shape":
            shape = _shape(value)
            return shape if shape is not None and all(self.low <= n <= self.high for n in shape) else None
        if self.kind == "texts":
            return self._texts(value)
        # A path is as good as its name.
        text = value.__fspath__() if hasattr(value, "__fspath__") else value
        return text if isinstance(text, str) and re.fullmatch(self.pattern or "(?s:.*)", text) else None

    def _texts(self, value: Any) -> tuple[str, ...] | None:
        """Texts one by one, or in a line as it is shown."""
        if isinstance(value, str):
            value = [] if value == "none" else value.split(SEPARATOR)
        if not isinstance(value, Iterable) or isinstance(value, bytes | Mapping):
            return None
        listed = list(value)
        fit = all(isinstance(text, str) and re.fullmatch(self.pattern or "(?s:.*)", text) for text in listed)
        return tuple(listed) if fit else None


def _names(value: Any) -> tuple[str, ...] | None:
    """Names in a list with commas, or one by one."""
    if isinstance(value, str):
        listed = [name.strip().upper() for name in value.split(",") if name.strip()]
        return () if listed == ["NONE"] else tuple(listed)
    if not isinstance(value, Iterable) or isinstance(value, bytes | Mapping):
        return None
    listed = list(value)
    return tuple(listed) if all(isinstance(name, str) for name in listed) else None


def _files(value: Any) -> tuple[str, ...] | None:
    """Names of files in a list with commas, of which those in brackets are of HDUs, or one by one."""
    if isinstance(value, str) or hasattr(value, "__fspath__"):
        value = re.split(r",(?![^\[]*\])", os.fspath(value))
    if not isinstance(value, Iterable) or isinstance(value, bytes | Mapping):
        return None
    listed = [os.fspath(name).strip() if isinstance(name, str | os.PathLike) else "" for name in value]
    return tuple(listed) if listed and all(listed) else None


def _point(value: Any) -> tuple[float, float] | None:
    if isinstance(value, str) or not isinstance(value, Iterable):
        return None
    numbers = list(value)
    if len(numbers) != 2 or not all(isinstance(n, Real) and not isinstance(n, bool) for n in numbers):
        return None
    x, y = map(float, numbers)
    return (x, y) if math.isfinite(x) and math.isfinite(y) else None


def _shape(value: Any) -> tuple[int, int] | None:
    """(ny, nx) of two numbers, of one for a square, or of a text such as 100x200."""
    if isinstance(value, str):
        parts = value.lower().split("x")
        if len(parts) > 2 or not all(part.strip().isdecimal() for part in parts):
            return None
        return int(parts[0]), int(parts[-1])
    pair = [value, value] if isinstance(value, Integral) else list(value) if isinstance(value, Iterable) else []
    if len(pair) != 2 or not all(isinstance(n, Integral) and not isinstance(n, bool) for n in pair):
        return None
    return operator.index(pair[0]), operator.index(pair[1])


def option(default: Any, help: str, **more: Any) -> Any:
    """A field of a dataclass of options: its default, its meaning, and what `Option` has besides.

    They are as there; what kind of value it has, and what may be chosen, its annotation says.
    """
    return field(default=None if more.get("required") else default, metadata={"declared": {"help": help, **more}})


# What the option of another command has in common with this one.
_KEPT = (
    "low", "high", "positive", "infinite", "metavar", "flags", "short", "unset", "card", "comment", "words", "required",
    "repeated", "section", "writes",
)  # fmt: skip


def again(cls: type[Declared], name: str, **changed: Any) -> Any:
    """The option of another command, but for what is different here."""
    known = declared(cls)[name]
    more = {key: getattr(known, key) for key in _KEPT} | changed
    default = more.pop("default", known.default)
    return option(default, more.pop("help", known.help), **more)


class Declared:
    """Base of frozen dataclasses of options, which are checked when they are made."""

    #: What the options are about, a word for messages.
    about: ClassVar[str] = "option"

    def __post_init__(self) -> None:
        for name, known in declared(type(self)).items():
            object.__setattr__(self, name, known.checked(getattr(self, name)))
        self.check()

    def check(self) -> None:
        """Refuse values that exclude each other."""

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """The options in a mapping by name.

        Raises
        ------
        TypeError
            If there is no such option; the nearest is named.
        UsageError
            If a value cannot be used.
        """
        for name in given:
            if name not in declared(cls):
                raise TypeError(unknown_name(cls.about, name, declared(cls)))
        return cls(**given)

    def changed(self) -> dict[str, Any]:
        """Those that differ from their defaults."""
        return {
            name: getattr(self, name)
            for name, known in declared(type(self)).items()
            if getattr(self, name) != known.default
        }

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.changed().items())})"


_Group = TypeVar("_Group", bound=Declared)


def documented(cls: type[_Group]) -> type[_Group]:
    """A class of options whose docstring says what each is, in the form of numpydoc."""
    lines = [(cls.__doc__ or "").rstrip(), "", "    Parameters", "    ----------"]
    for name, known in declared(cls).items():
        limits = f"; {known.wanted}" if known.kind in ("int", "float") else ""
        default = "required" if known.required else f"by default {known.shown_default}"
        lines += [f"    {name}", *_wrapped(f"{known.help} ({default}{limits})")]
    cls.__doc__ = "\n".join([*lines, "    "])
    return cls


def _wrapped(text: str) -> list[str]:
    from textwrap import wrap

    return wrap(text, 112, initial_indent=8 * " ", subsequent_indent=8 * " ")


_Listed = TypeVar("_Listed")


def by_section(listed: Iterable[_Listed], section: Callable[[_Listed], Section]) -> dict[Section, list[_Listed]]:
    """Things by the topic that they belong to, the topics in their order."""
    found: dict[Section, list[_Listed]] = {topic: [] for topic in SECTIONS}
    for one in listed:
        found[section(one)].append(one)
    return {topic: those for topic, those in found.items() if those}


def unknown_name(what: str, name: str, known: Iterable[str]) -> str:
    """A sentence about something that there is not, which names the nearest that there is."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"there is no {what} {name!r}" + (f"; did you mean {near[0]!r}?" if near else "")


_declared: dict[type, dict[str, Option]] = {}


def declared(cls: type[Declared]) -> dict[str, Option]:
    """The options of a dataclass by their names, in their order."""
    if cls not in _declared:
        _declared[cls] = _options_of(cls)
    return _declared[cls]


def _options_of(cls: type[Declared]) -> dict[str, Option]:
    hints = get_type_hints(cls)
    options = {}
    for item in fields(cls):  # type: ignore[arg-type]
        more = dict(item.metadata["declared"])
        kind, choices = _kind(hints[item.name])
        if kind == "names" and more.get("metavar", "").startswith("FILE"):
            kind = "files"
        kind = "texts" if more.get("repeated") else kind
        options[item.name] = Option(item.name, kind, item.default, choices=choices, **more)
    return options


def _kind(hint: Any) -> tuple[Kind, tuple[str, ...]]:
    """What kind of value an annotation stands for, and the words to choose from."""
    if type(None) in get_args(hint):
        (hint,) = (part for part in get_args(hint) if part is not type(None))
    if get_origin(hint) is Literal:
        return "choice", get_args(hint)
    if int in get_args(hint):  # a shape, or one number for a square
        return "shape", ()
    if get_origin(hint) is tuple:
        return ("names" if get_args(hint)[0] is str else "point"), ()
    kinds: dict[Any, Kind] = {bool: "flag", int: "int", float: "float", str: "text"}
    return kinds[hint], ()
