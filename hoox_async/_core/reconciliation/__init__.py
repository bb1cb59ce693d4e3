"""Which look belongs to which lost POST: decided by elimination under avatar locks, or not at all. Pure."""
