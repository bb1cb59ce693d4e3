"""The life of one paid request: its states and transitions, keys, records, budgets and outcomes. Pure."""
