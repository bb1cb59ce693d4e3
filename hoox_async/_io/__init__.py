"""The world outside: clock, tasks, hooks, downloads, the transport over aiohttp, and the stores."""
