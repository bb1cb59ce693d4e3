"""How many requests may go out, and when: a sliding window of our own, less what other clients use.

Decisions only: it may import `_api` and `errors`, and every time is an argument.
"""
