"""The names that a user chooses in a database: of its schema and of its workspaces."""

from __future__ import annotations

from ..._core.intents.keys import is_name
from ...errors import ConfigurationError


def require_workspace_name(name: str) -> str:
    """The name. Raises `ConfigurationError` for one that no workspace can have."""
    if not is_name(name) or len(name) > 200:
        raise ConfigurationError("workspace: expected a name, a text of 1 to 200 characters")
    return name


def require_schema(schema: str) -> str:
    """The name. Raises `ConfigurationError` for one that no schema can have here: % marks our parameters."""
    if not is_name(schema) or len(schema.encode()) > 63 or "%" in schema:
        raise ConfigurationError("schema: expected the name of a schema, of at most 63 bytes and without %")
    return schema
