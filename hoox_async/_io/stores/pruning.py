"""What pruning a store did: shared by the stores on disk."""

from __future__ import annotations

from typing import NamedTuple


class PruneResult(NamedTuple):
    """What `prune_store` has erased, or with ``dry_run`` would erase.

    ``pruned`` requests lost their content now, and ``already`` had lost it earlier. The sizes are in bytes:
    of the file, or in PostgreSQL of the workspace's records. ``size_after`` of a dry run is an estimate.
    """

    pruned: int
    already: int
    size_before: int
    size_after: int
