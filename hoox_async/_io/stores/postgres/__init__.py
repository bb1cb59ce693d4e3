"""The store in PostgreSQL, for many processes and machines.

`store` is one workspace as a session sees it, `member` this process's lease, its sweep and its feed of other
processes' changes, `queries` what they ask of a database, `sql_queries` the only module that knows SQL, and
`database` what users open. The package may import what `stores/` may, and psycopg, which only `connections`
and `url` do.
"""
