"""The life of one paid request: its states and transitions, keys, records, budgets and outcomes.

Everything here is pure: it may import `_api`, `errors` and the rest of `_core`, and nothing that does I/O.
"""
