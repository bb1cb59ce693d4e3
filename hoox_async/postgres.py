"""The store of many processes: one PostgreSQL database for all workspaces of a process.

It needs psycopg: ``pip install "hoox-async[postgres]"``.
"""

from ._io.ledger.copy import CopyResult, copy_store
from ._io.ledger.database import PostgresDatabase, migrate_database, single_workspace
from ._io.ledger.maintenance import copy_state
from ._io.ledger.offline import workspace_exists
from ._io.ledger.postgres_schema import grants

__all__ = [
    "CopyResult",
    "PostgresDatabase",
    "copy_state",
    "copy_store",
    "grants",
    "migrate_database",
    "single_workspace",
    "workspace_exists",
]
