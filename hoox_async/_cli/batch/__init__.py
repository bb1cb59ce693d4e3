"""A batch on the command line: its options, its plan, its run and its summary.

It may import what the command line may, but no command.
"""
