"""What the vendor's API speaks: models, requests with their prices, endpoints, responses, webhook
payloads. Pure."""
