"""The vendor's API: models, requests and their prices, endpoints, responses, webhook payloads.

Pure: it uses `errors` and nothing else of the library.
"""
