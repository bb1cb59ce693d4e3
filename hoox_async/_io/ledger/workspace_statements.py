"""The SQL that binds workspaces to their base URLs and API keys. See `statements`."""

WORKSPACE = (
    "WITH RECURSIVE same AS (SELECT id, base_url, fingerprint, older_fingerprint FROM hoox.workspaces "
    "WHERE name = :name UNION SELECT w.id, w.base_url, w.fingerprint, w.older_fingerprint "
    "FROM hoox.workspaces w JOIN same s ON w.base_url = s.base_url AND "
    "(w.fingerprint IN (s.fingerprint, s.older_fingerprint) "
    "OR w.older_fingerprint IN (s.fingerprint, s.older_fingerprint))) "
    "SELECT w.id, (SELECT min(id) FROM same), w.base_url, w.fingerprint, w.older_fingerprint, "
    "w.key_confirmed FROM hoox.workspaces w WHERE w.name = :name"
)
KEY_SALT = "SELECT salt FROM hoox.key_salt"
ADD_KEY_SALT = "INSERT INTO hoox.key_salt (id, salt) VALUES (1, :salt)"
ONE_AT_A_TIME = "UPDATE hoox.key_salt SET salt = salt"  # so workspaces appear in the order of their numbers
ADD_WORKSPACE = (
    "INSERT INTO hoox.workspaces (name, base_url, fingerprint) VALUES (:name, :base_url, :fingerprint) "
    "ON CONFLICT (name) DO NOTHING"
)
REPLACE_KEYS = (
    "UPDATE hoox.workspaces SET fingerprint = :fingerprint, older_fingerprint = :older, key_confirmed = 0 "
    "WHERE id = :workspace AND fingerprint = :was AND coalesce(older_fingerprint, '') = :was_older"
)
CONFIRM_KEY = (
    "UPDATE hoox.workspaces SET key_confirmed = 1 "
    "WHERE id = :workspace AND fingerprint = :fingerprint AND key_confirmed = 0"
)
KEY_IS_VALID = "UPDATE hoox.workspaces SET key_confirmed = 1 WHERE id = :workspace"

# --- copies of a workspace: see `copy`

COPY = (
    "SELECT c.made_by, c.place, c.moved_by, c.moved_to, c.handed_over FROM hoox.copies c "
    "JOIN hoox.workspaces w ON w.id = c.workspace WHERE w.name = :name"
)
USE_COPIED = (
    "UPDATE hoox.copies SET moved_by = NULL, moved_to = NULL, handed_over = 0 WHERE workspace = :workspace"
)
