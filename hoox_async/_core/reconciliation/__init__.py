"""Decides which look a lost POST has made: by elimination under avatar locks, or not at all.

Everything here is pure: it may import `_api`, `errors` and the rest of `_core`, and nothing that does I/O.
"""
