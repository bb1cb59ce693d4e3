"""The vendor's API: models, requests and their prices, endpoints, responses, webhook payloads.

Pure: it uses `errors` and nothing else of the library.

A new field of the API: `requests` (its name, its price, and whether it enters the key), and the sandbox's
`received_requests`. A new endpoint: `endpoints`, `responses`, `_session/reads`, `_session/session`, and
the sandbox's `space`.
"""
