"""A batch on the command line: its options, its plan, its run and its summary.

It may import the public door (`hoox_async`, `hoox_async.sandbox`) and the rest of the command line but the
commands.
"""
