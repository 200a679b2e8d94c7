"""Many exposures: a manifest of them, worker processes, resuming, results."""
