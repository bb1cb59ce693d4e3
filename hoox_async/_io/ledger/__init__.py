"""The ledger: one set of statements for all databases."""
