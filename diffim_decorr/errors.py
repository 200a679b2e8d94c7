"""The exceptions and the warning that users are meant to read, and what their messages are made of."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from typing import ClassVar

__all__ = (
    "DecorrWarning",
    "FailedExposuresError",
    "FailedVerdictError",
    "InputError",
    "OptionError",
    "OutputExistsError",
    "UsageError",
    "causes",
    "lacks_memory",
    "plain",
)

# What threads, shared libraries and compiled modules say where there is no memory.
_WITHOUT_MEMORY = (
    (RuntimeError, "start new thread"),
    (ImportError, "failed to map"),
    (SystemError, "without exception set"),
)
_NAME = r"\{(\w+)\}"


class InputError(ValueError):
    """Something that a user handed over cannot be used.

    The message is one sentence that names the file, the HDU and the cause. The command line prints it and ends with
    status 3.
    """

    #: What kind of error it is, a word for programs.
    code: ClassVar[str] = "input"


class UsageError(InputError):
    """An option, its value, or the place for an output cannot be what was meant.

    The command line ends with status 2.
    """

    code: ClassVar[str] = "usage"


class OptionError(UsageError):
    """Options that exclude each other, or a value that cannot be what was meant.

    Parameters
    ----------
    text
        What is wrong, in which ``{name}`` stands for an option: by its name in Python, and as it is typed on the
        command line.
    """

    def __init__(self, text: str) -> None:
        super().__init__(re.sub(_NAME, r"\1", text))
        self.text = text

    @property
    def names(self) -> list[str]:
        """The options that it is about."""
        return re.findall(_NAME, self.text)

    @property
    def typed(self) -> str:
        """The message with the options as they are typed."""
        return re.sub(_NAME, lambda match: f"--{match[1].replace('_', '-')}", self.text)


class OutputExistsError(UsageError):
    """There is something already in the place of an output, and it is not to be replaced."""

    code: ClassVar[str] = "output-exists"


class FailedVerdictError(Exception):
    """A result was written, but its verdict is ``fail``, and it was asked to be strict.

    The command line ends with status 4.
    """


class FailedExposuresError(Exception):
    """Some exposures of a batch failed; the others were written.

    The command line ends with status 5.
    """


class DecorrWarning(UserWarning):
    """The run went on, but its user should know something about the result."""


def plain(text: str) -> str:
    """A text for a line, without control characters, whatever is in file names."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception, the one that it came of, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def lacks_memory(error: BaseException) -> bool:
    """Whether something failed because there is no memory left, of which libraries have words of their own."""
    return any(
        isinstance(one, MemoryError)
        or (isinstance(one, OSError) and one.errno == errno.ENOMEM)
        or any(isinstance(one, kind) and words in str(one) for kind, words in _WITHOUT_MEMORY)
        for one in causes(error)
    )
