"""The application: all commands, in groups, with the program's help."""

from __future__ import annotations

from collections.abc import Callable

from cyclopts import App, Group, Parameter

from hoox_async import __version__

from .commands.batch import batch
from .commands.check import check
from .commands.costs import costs
from .commands.demo import demo
from .commands.download import download
from .commands.looks import looks, status, wait
from .commands.one_look import create, edit
from .commands.report import report
from .commands.sandbox import sandbox
from .commands.store import backup, budget, copy, migrate, prune, recover
from .commands.unknowns import resolve, unknowns

_HELP = """Make avatar looks with the Hoox API, by the dozen or the thousand. Nothing is paid twice
on a guess.

Try `hoox-async demo` first: it needs no key and no network. The API key is read from HOOX_API_KEY or
--key-file; the base URL only from --base-url, never from the environment.

Exit codes: 0 all ready, 1 some failed, 2 bad usage or input, 3 API key or credits, 4 not finished.
"""
_COMMANDS: dict[str, tuple[Callable[..., int], ...]] = {
    "Without a key": (demo, sandbox),
    "Campaigns": (batch, report, download, costs, unknowns, resolve),
    "One look at a time": (create, edit),
    "Free of charge": (status, wait, looks, check),
}
_WITHOUT_DEFAULTS = Parameter(show_default=False)
_STORE_HELP = "Back up, copy, recover, prune or migrate a store; set a budget."
_COMPLETION_HELP = "Install completion for bash, zsh or fish."
_USAGE: dict[Callable[..., int], str] = {status: "status [OPTIONS] LOOK...", wait: "wait [OPTIONS] LOOK..."}


def build() -> App:
    """The application with all its commands."""
    app = App(
        name="hoox-async",
        help=_HELP,
        version=__version__,
        version_flags=("--version", "-V"),
        default_parameter=_WITHOUT_DEFAULTS,
    )
    for position, (heading, commands) in enumerate(_COMMANDS.items()):
        group = Group(heading, sort_key=position)
        for command in commands:
            usage = _USAGE.get(command)
            app.command(command, group=group, usage=f"Usage: hoox-async {usage}" if usage else None)
    app.command(_store_commands(app["report"].group))
    other = Group("Other", sort_key=len(_COMMANDS))
    app.register_install_completion_command(group=other, help=_COMPLETION_HELP)
    app["--help"].group = app["--version"].group = other
    return app


def _store_commands(group: Group | str | tuple[Group | str, ...]) -> App:
    store = App(
        name="store", help=_STORE_HELP, group=group, version_flags=(), default_parameter=_WITHOUT_DEFAULTS
    )
    for command in (backup, copy, recover, prune, migrate, budget):
        store.command(command)
    return store
