-- The clock that all processes go by. Tests replace it. Not now(), which stands still within a transaction.
CREATE FUNCTION hoox.now_1() RETURNS timestamptz
LANGUAGE sql VOLATILE AS 'SELECT clock_timestamp()';

-- The timeline of the server: another one after a failover, or where a backup was restored. Acknowledged writes may
-- be missing then. Empty on a server that does not tell it. Tests replace it.
CREATE FUNCTION hoox.timeline_1() RETURNS text
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8);
EXCEPTION WHEN OTHERS THEN
    RETURN '';
END $$;

CREATE TABLE hoox.schema_versions (
    version integer PRIMARY KEY,
    minimum_client integer NOT NULL, -- a release that knows no version from this one on is refused
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
