"""``python -m examples.look_studio``: serve the app on this machine until Ctrl-C."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing, suppress
from decimal import Decimal
from pathlib import Path

from hoox_async import Budget, ConfigurationError, HooxError

try:
    import uvicorn

    from .app import create_app
    from .server import HOST, Server, listen
    from .settings import Settings
except ModuleNotFoundError as missing:
    sys.exit(
        f"Look Studio needs {missing.name}, which is not installed. "
        'In your clone of hoox-async: pip install -e ".[studio]"'
    )


def port_of(text: str) -> int:
    """A port whose next one exists too: the sandbox has that."""
    if not text.isdecimal() or not 1 <= int(text) < 65535:
        raise argparse.ArgumentTypeError("expected a port from 1 to 65534")
    return int(text)


def credits_of(text: str) -> Decimal:
    """A number of credits."""
    try:
        return Budget(text).max_credits
    except ConfigurationError:
        raise argparse.ArgumentTypeError("expected a number of credits from 0 on") from None


def main() -> int:
    """Run it. 2 where it can't be set up."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.look_studio",
        description="Serve Look Studio on this machine until Ctrl-C: on a sandbox, or, with HOOX_API_KEY, on "
        "the real API.",
    )
    parser.add_argument(
        "--port",
        type=port_of,
        default=8000,
        help="port of the page; a new sandbox has the next one",
    )
    parser.add_argument(
        "--data", type=Path, default=Path("look-studio-data"), help="folder of orders, looks and pictures"
    )
    parser.add_argument("--credits", type=credits_of, default=Decimal(100), help="cap of each customer")
    given = parser.parse_args()
    try:
        settings = Settings.from_environment(port=given.port, data=given.data, credits=given.credits)
        failure = serve(settings, given.port)
    except HooxError as error:
        failure = error
    if failure is not None:
        print(f"Look Studio did not start: {failure}", file=sys.stderr)
        return 2
    return 0


def serve(settings: Settings, port: int) -> Exception | None:
    """Serve until Ctrl-C. The error that kept the app from opening, if one did."""
    where = (
        "a sandbox, where nothing costs anything" if settings.sandbox else "the real API: looks cost credits"
    )
    with closing(listen(port)) as listener:
        app = create_app(settings)
        config = uvicorn.Config(app, host=HOST, port=port, log_level="warning")
        server = Server(app, config, f"Look Studio on {where}\nhttp://{HOST}:{port}   (Ctrl-C ends it)")
        with suppress(KeyboardInterrupt):  # uvicorn has shut down by then, and passes Ctrl-C on
            server.run([listener])
    return server.failure


if __name__ == "__main__":
    sys.exit(main())
