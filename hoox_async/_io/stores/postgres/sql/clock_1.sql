-- The clock that all processes go by. Tests replace it. Not now(), which stands still within a transaction.
CREATE FUNCTION hoox.now_1() RETURNS timestamptz
LANGUAGE sql VOLATILE AS 'SELECT clock_timestamp()';
