"""Memory that is used again for each tile."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ("Workspace",)

Array = NDArray[Any]


class Workspace(threading.local):
    """Arrays that a thread uses again for each tile: fetching them anew costs more than what is done with them."""

    def __init__(self) -> None:
        self._memory: dict[tuple[str, np.dtype[Any]], Array] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
        """The thread's own array of that name, shape and type, with whatever is in it."""
        key, size = (name, np.dtype(dtype)), math.prod(shape)
        if key not in self._memory or self._memory[key].size < size:
            self._memory[key] = np.zeros(size, dtype)
        return self._memory[key][:size].reshape(shape)
