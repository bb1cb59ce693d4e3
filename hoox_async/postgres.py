"""The store of many processes: one PostgreSQL database for all workspaces of a process.

It needs psycopg: ``pip install "hoox-async[postgres]"``.
"""

from ._io.ledger.database import PostgresDatabase, migrate_database, single_workspace
from ._io.ledger.postgres_checks import grants
from ._io.ledger.postgres_offline import workspace_exists

__all__ = ["PostgresDatabase", "grants", "migrate_database", "single_workspace", "workspace_exists"]
