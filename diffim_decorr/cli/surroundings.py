"""What a command finds where it is started, put right: streams that are closed, a home that cannot be looked into."""

from __future__ import annotations

import os

__all__ = ("settle",)

_STREAMS = 3
_HOMES = {"HOME": ".astropy/config", "XDG_CONFIG_HOME": "astropy", "XDG_CACHE_HOME": "astropy"}


def settle() -> None:
    """Have standard streams that are open, and a home that can be looked into."""
    for number in range(_STREAMS):
        try:
            os.fstat(number)
        except OSError:
            # The next file that is opened would be taken for it, and written over.
            os.open(os.devnull, os.O_RDWR)
    # astropy, which looks for its configuration there, would give up. Below a file there is none.
    for name, below in _HOMES.items():
        try:
            os.stat(os.path.join(os.environ.get(name, ""), below))
        except PermissionError:
            del os.environ[name]
            if name == "HOME":
                os.environ[name] = os.devnull
        except OSError:
            pass
