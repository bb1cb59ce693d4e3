"""Campaign files: reads what to make from TOML, CSV or JSON lines, and reports every problem with its line.

It may import the public door (`hoox_async`) and the table of fields, but nothing else of the command line.
"""
