"""ψ at the nodes over the field."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from diffim_decorr.psi import build
from diffim_decorr.psi.nodes import Nodes
from diffim_decorr.psi.trial import interpolated_further, psi_from_nodes
from support.field import Field


def test_nodes_whose_samples_are_not_kept(field: Field, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of very many nodes only the weights of modes found before are computed: ψ and its errors are the same."""
    compared = []

    def both(support: Any, nodes: Any, tolerance: float, threads: int) -> Any:
        kept = psi_from_nodes(support, nodes, tolerance, threads)
        finer = [Nodes.over(part.box, 60.0, part.log_ratio) for part in nodes]
        weights_only = interpolated_further(support, kept, finer, threads)
        compared.append((psi_from_nodes(support, finer, tolerance, threads), weights_only))
        return kept

    monkeypatch.setattr(build, "psi_from_nodes", both)
    field.decorrelated()
    for kept, weights_only in compared:
        assert len(weights_only.weights) == len(kept.samples) > len(weights_only.samples)
        left = np.tensordot(weights_only.weights, weights_only.basis, axes=1) - kept.samples
        error = np.sqrt((left**2).sum(axis=(1, 2)).mean())
        assert error <= 1e-3
        # What it says of its error is what it is, but for the nodes at the edges, which stand for less of the field.
        assert 0.3 * error <= weights_only.mode_error <= 3 * error
    assert compared
