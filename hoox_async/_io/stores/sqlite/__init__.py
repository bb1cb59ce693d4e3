"""The store in one SQLite file, for one process: all database work runs on one thread beside the loop.

`store` is the public side, `database` the file as its thread sees it, and `queries` the SQL. The package may
import what `stores/` may.
"""
