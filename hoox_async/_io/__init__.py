"""I/O: clock, tasks, hooks, downloads, the transport over aiohttp, and the stores.

It may import `_core`, `_api`, `events` and `errors`; nothing here knows of a session.
"""
