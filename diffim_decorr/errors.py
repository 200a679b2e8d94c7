"""The exceptions and the warning that users are meant to read."""

from __future__ import annotations

__all__ = ("DecorrWarning", "FailedVerdictError", "InputError", "UsageError")


class InputError(ValueError):
    """Something that a user handed over cannot be used.

    The message is one sentence that names the file, the HDU and the cause. The command line prints it and ends with
    status 3.
    """


class UsageError(InputError):
    """An option, its value, or the place for an output cannot be what was meant.

    The command line ends with status 2.
    """


class FailedVerdictError(Exception):
    """A result was written, but its verdict is ``fail``, and it was asked to be strict.

    The command line ends with status 4.
    """


class DecorrWarning(UserWarning):
    """The run went on, but its user should know something about the result."""
