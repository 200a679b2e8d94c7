"""A cluster of Dask, by its scheduler: the only file that connects to one and hands work to it."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from diffim_decorr.errors import UsageError

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ("client_of", "submitted")


@contextmanager
def client_of(scheduler: str, **settings: Any) -> Iterator[Client]:
    """A client of a scheduler.

    Parameters
    ----------
    scheduler
        Its address, or the file that it has written about itself.
    **settings
        What Dask's client is told besides.

    Raises
    ------
    UsageError
        If it cannot be reached.
    ModuleNotFoundError
        If Dask is not installed.
    """
    try:
        from distributed import Client
    except ModuleNotFoundError as error:
        text = f"{error.name} is missing; pip install 'diffim-decorr[batch]' installs it"
        raise ModuleNotFoundError(text, name=error.name) from error
    place = {"address": scheduler} if "://" in scheduler else {"scheduler_file": scheduler}
    if "scheduler_file" in place and not os.path.isfile(scheduler):
        raise UsageError(f"--scheduler {scheduler}: is neither an address, as tcp://host:8786, nor a file")
    # What matters of what it says turns up as an error.
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    try:
        client = Client(**place, **settings, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"--scheduler {scheduler}: cannot be reached: {' '.join(str(error).split())}") from error
    with client:
        yield client


class _Call(NamedTuple):
    """A call that is made when it is unpacked."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]

    def __reduce__(self) -> Any:
        return self.function, self.arguments


def submitted(client: Client, function: Callable[..., Any], *arguments: Any) -> Future:
    """Have a worker call a function of ours.

    A worker that cannot import it says so by an ImportError of the task. Given the function as Dask gives it, it would
    end without a word to us, and others would be waited for.
    """
    return client.submit(pickle.loads, pickle.dumps(_Call(function, arguments)), pure=False)
