"""The options of ``check --conformance``, and their checks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import attrs
from cyclopts import Group, Parameter

from hoox_async import ConfigurationError, ImageAvatar
from hoox_async.webhooks import WebhookHub

_GROUP = Group("Conformance", sort_key=1)


@Parameter(name="*", group=_GROUP)
@attrs.frozen(kw_only=True)
class ConformanceOptions:
    """The options of ``check --conformance``."""

    conformance: Annotated[
        bool,
        Parameter(
            negative=(),
            help="Make one avatar from images (0 credits), compare all answers with what this library "
            "assumes, and print a report without secrets.",
        ),
    ] = False
    yes: Annotated[bool, Parameter(negative=(), help="Do not ask.")] = False
    image: Annotated[
        tuple[str, ...],
        Parameter(
            negative=(),
            help="The URL of a picture for the avatar (pictures of the public catalogue). Repeatable.",
        ),
    ] = ()
    avatar: Annotated[
        tuple[str, ...],
        Parameter(
            negative=(),
            help="The id of an avatar to read too, such as one with a look that is being made "
            "(up to 3 that the workspace has). Repeatable.",
        ),
    ] = ()
    public_url: Annotated[
        str | None,
        Parameter(
            help="The URL at which the API reaches --listen, by a tunnel or proxy: checks deliveries too."
        ),
    ] = None
    listen: Annotated[
        str, Parameter(help="Where deliveries are received, as host:port (127.0.0.1:8765).")
    ] = "127.0.0.1:8765"
    delivery_wait: Annotated[float, Parameter(help="The most seconds to wait for a delivery (60).")] = 60.0
    out: Annotated[
        Path | None,
        Parameter(help="Save the report in this file: as JSON if it ends in .json, else as text."),
    ] = None

    def check(self) -> None:
        """Raise `ConfigurationError` or `InvalidRequest` for what cannot work, before anything is sent."""
        if not self.conformance:
            given = [
                field.name for field in attrs.fields(type(self)) if getattr(self, field.name) != field.default
            ]
            if given:
                raise ConfigurationError(f"--{given[0].replace('_', '-')}: only with --conformance")
            return
        if not 0 < self.delivery_wait < float("inf"):
            raise ConfigurationError(
                f"--delivery-wait {self.delivery_wait:g}: expected a number of seconds above 0"
            )
        if self.image:
            ImageAvatar(self.image)  # raises InvalidRequest
        if self.public_url is not None:
            self.address()
            _check_public_url(self.public_url)
        if self.out is not None:
            _check_out(self.out)

    def address(self) -> tuple[str, int]:
        """Host and port of --listen. Raises `ConfigurationError`."""
        host, _, port = self.listen.rpartition(":")
        if not host or not (port.isascii() and port.isdigit() and int(port) <= 65535):
            raise ConfigurationError(f"--listen {self.listen}: expected host:port, such as 127.0.0.1:8765")
        return host.strip("[]"), int(port)


def _check_public_url(url: str) -> None:
    try:
        WebhookHub(url, "only to check the address")
    except ConfigurationError as error:
        raise ConfigurationError(str(error).replace("public_url:", "--public-url", 1)) from None


def _check_out(out: Path) -> None:
    if out.exists():
        raise ConfigurationError(f"--out {out}: it exists already; choose another name")
    folder = out.absolute().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ConfigurationError(f"--out {out}: nothing can be written in {folder}")
