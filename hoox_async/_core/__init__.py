"""Pure decisions: what is sent, retried, polled, paid and concluded. It uses `_api` and `errors`.

No I/O, clock, randomness, logging or environment: the time and chance are arguments.

A new state or transition of an intent: the table in `intents/transitions`, and `intents/records`. A new rule
of the quota or of polling: `quota/`, `polling/`; `benchmarks/quota.py` shows what it does.
"""
