"""A shop that sells looks: web processes take orders, workers have them made. Copy this folder.

README.md beside this file is its runbook.
"""
