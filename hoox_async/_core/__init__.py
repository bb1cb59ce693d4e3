"""Pure decisions: what is sent, retried, polled, paid and concluded. It uses `_api` and `errors`.

No I/O, clock, randomness, logging or environment: the time and chance are arguments.
"""
