"""The store of many processes: one PostgreSQL database for all workspaces of a process.

It needs psycopg: ``pip install "hoox-async[postgres]"``.
"""

from ._io.stores.postgres.database import PostgresDatabase, migrate_database, single_workspace
from ._io.stores.postgres.offline import workspace_exists
from ._io.stores.postgres.server_checks import grants

__all__ = ["PostgresDatabase", "grants", "migrate_database", "single_workspace", "workspace_exists"]
