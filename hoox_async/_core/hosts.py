"""Where a host of a URL is: on this machine, in a private network, or public."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether it is this machine: ``localhost``, or a loopback address."""
    address = _address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def is_public(host: str) -> bool:
    """Whether it is neither this machine nor an address of a private network.

    Any other name than ``localhost`` counts as public here: what it stands for is known when it is resolved.
    """
    address = _address(host)
    return host.lower() != "localhost" if address is None else address.is_global


def may_redirect(origin: str, scheme: str, host: str) -> bool:
    """Whether a redirect by the host ``origin`` to such an address is followed.

    To https only, or within this machine; never from a public host to this machine or a private network.
    """
    if is_loopback(origin) and is_loopback(host):
        return scheme in ("http", "https")
    return scheme == "https" and (is_public(host) or not is_public(origin))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
