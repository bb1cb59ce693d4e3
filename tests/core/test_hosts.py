"""Where a picture's redirect may lead."""

from __future__ import annotations

import pytest

from hoox_async._core.hosts import may_redirect


@pytest.mark.parametrize(
    ("origin", "scheme", "host"),
    [
        ("cdn.example", "https", "other.example"),
        ("cdn.example", "https", "8.8.8.8"),
        ("localhost", "http", "127.1.2.3"),
        ("127.0.0.1", "http", "::1"),
        ("127.0.0.1", "https", "cdn.example"),
        ("10.0.0.1", "https", "10.0.0.2"),
    ],
)
def test_a_redirect_to_https_or_within_this_machine_is_followed(origin: str, scheme: str, host: str) -> None:
    """Also from a private address to another one, by https."""
    assert may_redirect(origin, scheme, host)


@pytest.mark.parametrize(
    ("origin", "scheme", "host"),
    [
        ("cdn.example", "http", "cdn.example"),
        ("cdn.example", "ftp", "cdn.example"),
        ("127.0.0.1", "http", "cdn.example"),
        ("127.0.0.1", "ftp", "127.0.0.1"),
        ("10.0.0.1", "http", "10.0.0.1"),
        *(
            ("cdn.example", "https", host)
            for host in (
                "localhost", "LOCALHOST", "127.0.0.1", "0.0.0.0", "10.0.0.1", "169.254.169.254",
                "100.64.0.1", "192.168.1.1", "::1", "::ffff:10.0.0.1", "fd00::1", "fe80::1",
            )
        ),
    ],
)  # fmt: skip
def test_no_redirect_leads_to_http_or_into_a_private_network(origin: str, scheme: str, host: str) -> None:
    """Nor to another scheme. From a public host it leads to no private address, in any spelling."""
    assert not may_redirect(origin, scheme, host)
