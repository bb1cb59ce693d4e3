"""How many requests may go out when: our own sliding window and what other clients use. Pure."""
