"""What is published: wheel and sdist hold what they should, and work where no extra is installed."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
import tarfile
import textwrap
import zipfile
from collections.abc import Iterator
from email import message_from_bytes
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from hoox_async import __version__

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "hoox_async"
EXTRAS = {"cli": {"cyclopts", "rich"}, "report": {"jinja2", "pillow"}, "sandbox": {"pillow"}}
STRANGE = re.compile(
    r"__pycache__|\.py[co]$|\.(db|db-wal|db-shm|hypothesis|mypy_cache|git)(/|$)|hoox-demo|\.shots"
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist, and the wheel made from it, without a network."""
    folder = tmp_path_factory.mktemp("dist")
    python(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    [sdist], [wheel] = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def bare(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment that holds the wheel and what it requires without extras, no more."""
    folder = tmp_path_factory.mktemp("bare")
    python(sys.executable, "-m", "venv", "--without-pip", folder)
    [site] = folder.glob("lib/python3*/site-packages")
    for distribution in required("hoox-async"):
        lend(distribution, site)
    interpreter = folder / "bin" / "python"
    # with an index out of reach, pip fails where something that is required is not there
    pip = (sys.executable, "-m", "pip", "--python", interpreter, "install", "-q", "--no-index")
    python(*pip, "--no-compile", "--disable-pip-version-check", built[1])
    return interpreter


def required(name: str) -> list[metadata.Distribution]:
    """The installed distributions that this one needs, without extras, directly or not."""
    found: dict[str, metadata.Distribution] = {}
    todo = list(requirements(name))
    while todo:
        name = canonicalize_name(todo.pop().name)
        if name not in found:
            found[name] = metadata.distribution(name)
            todo += requirements(name)
    return list(found.values())


def requirements(name: str) -> Iterator[Requirement]:
    for text in metadata.requires(name) or ():
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement


PLUGIN = "hoox_async/testing/_plugin/_hoox_async_pytest.py"
SKILL = "hoox_async/.agents/skills/hoox-async/SKILL.md"


def lend(distribution: metadata.Distribution, site: Path) -> None:
    """Link what the distribution installed into another environment."""
    tops = {path.parts[0] for path in distribution.files or () if path.parts[0] not in ("..", "__pycache__")}
    for top in tops:
        (site / top).symlink_to(Path(str(distribution.locate_file(top))))


def python(*words: str | Path, code: int = 0) -> str:
    """Run it with no variable that changes what Python finds; gives what it wrote."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "HOOX", "COV_"))
    }
    done = subprocess.run(
        [str(word) for word in words], env=kept, capture_output=True, text=True, cwd=sys.prefix, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def sources() -> set[str]:
    """Every file of the package in this tree."""
    paths = (path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(ROOT).as_posix() for path in paths}


def test_the_wheel_holds_the_package_and_nothing_else(built: tuple[Path, Path]) -> None:
    """Modules, templates, SQL, py.typed, the skill, the pytest plugin beside it; no tests, caches or stores.

    No file says where it was made.
    """
    with zipfile.ZipFile(built[1]) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        texts = {name: wheel.read(name) for name in names}
    assert names == sources() - {PLUGIN} | {"_hoox_async_pytest.py"}
    assert {"hoox_async/py.typed", "hoox_async/_report/templates/index.html.j2", SKILL} <= names
    assert {"hoox_async/_io/ledger/sql/clock_1.sql", "hoox_async/_io/ledger/sql/quota_1.sql"} <= names
    assert not [name for name in names if STRANGE.search(name)]
    assert made_at(texts) == []


def made_at(texts: dict[str, bytes]) -> list[str]:
    """The files that name this folder, this machine's package index, or its Python."""
    config = python(sys.executable, "-m", "pip", "config", "list")
    indexes = set(re.findall(r"https?://(?:[^/@\s']*@)?([^/:\s']+)", config)) - {"pypi.org"}
    places = [place.encode() for place in (str(ROOT), sys.base_prefix, *indexes)]
    return [name for name, text in texts.items() if any(place in text for place in places)]


def test_the_sdist_can_be_built_and_tested(built: tuple[Path, Path]) -> None:
    """The package, its tests, benchmarks and examples; no caches, stores or histories, nor a machine."""
    with tarfile.open(built[0]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
        files = [member for member in sdist.getmembers() if member.isfile()]
        texts = {member.name: read.read() for member in files if (read := sdist.extractfile(member))}
    assert made_at(texts) == []
    assert names >= sources() | {SKILL, "pyproject.toml", "README.md", "tests/conftest.py"}
    assert {"tests", "benchmarks", ".docs", "examples"} <= {name.partition("/")[0] for name in names}
    assert [name for name in names if STRANGE.search(name)] == []


def test_the_metadata_says_what_is_needed(built: tuple[Path, Path]) -> None:
    """Few requirements, each extra with its own, the command and the plugin."""
    with zipfile.ZipFile(built[1]) as wheel:
        info = next(name.partition("/")[0] for name in wheel.namelist() if ".dist-info/" in name)
        head = message_from_bytes(wheel.read(f"{info}/METADATA"))
        points = configparser.ConfigParser()
        points.read_string(wheel.read(f"{info}/entry_points.txt").decode())
    needs = [Requirement(text) for text in head.get_all("Requires-Dist", [])]
    assert {need.name for need in needs if need.marker is None} == {
        "aiohttp", "anyio", "attrs", "cattrs", "itsdangerous"
    }  # fmt: skip
    for extra, names in EXTRAS.items():
        with_it = (need for need in needs if need.marker and need.marker.evaluate({"extra": extra}))
        assert {need.name for need in with_it} == names
    assert head["Requires-Python"] == ">=3.11"
    assert head["Version"] == metadata.version("hoox-async") == __version__
    assert points["console_scripts"]["hoox-async"] == "hoox_async.__main__:main"
    assert points["pytest11"]["hoox_async"] == "_hoox_async_pytest"


def test_the_licence_is_in_wheel_and_sdist(built: tuple[Path, Path]) -> None:
    """Its text and the holders' name, where installers look for them; no people and no URLs are invented."""
    text = (PACKAGE / "LICENSE").read_text(encoding="utf-8")
    assert text.startswith("MIT License\n")
    assert "hoox-async contributors" in text
    with zipfile.ZipFile(built[1]) as wheel:
        [shown] = [
            name for name in wheel.namelist() if name.endswith(".dist-info/licenses/hoox_async/LICENSE")
        ]
        assert wheel.read(shown).decode() == text
        assert wheel.read("hoox_async/LICENSE").decode() == text
        info = shown.partition("/")[0]
        head = message_from_bytes(wheel.read(f"{info}/METADATA"))
    with tarfile.open(built[0]) as sdist:
        assert [name for name in sdist.getnames() if name.endswith("/hoox_async/LICENSE")]
    assert (head["License-Expression"], head["License-File"]) == ("MIT", "hoox_async/LICENSE")
    assert head["Author"] == "hoox-async contributors"
    assert head.get_all("Project-URL", []) == []


def test_a_session_runs_where_no_extra_is_installed(bare: Path) -> None:
    """With every warning an error: all but the command line is imported, and a look is made on a server."""
    program = """
        import asyncio, importlib, pkgutil, sys
        import hoox_async, hoox_async.sandbox, hoox_async.testing, hoox_async.webhooks
        from hoox_async import LookStatus, PromptAvatar
        from hoox_async.sandbox import Sandbox

        for module in pkgutil.walk_packages(hoox_async.__path__, "hoox_async."):
            if "._cli." not in module.name:
                importlib.import_module(module.name)

        async def main():
            async with Sandbox() as sandbox, sandbox.session(store=sys.argv[1]) as session:
                job = await session.submit(PromptAvatar("a friendly host"))
                sandbox.settle(job, "ready")
                assert (await job.status()).status is LookStatus.READY
                assert sandbox.credits_spent == 2

        asyncio.run(main())
        assert not {"PIL", "jinja2", "cyclopts", "rich", "pytest"} & set(sys.modules)
        print(hoox_async.__file__)
    """
    store = bare.parent / "bare.db"
    out = python(bare, "-W", "error", "-X", "dev", "-c", textwrap.dedent(program), store)
    assert out.startswith(str(bare.parents[1]))


def test_where_no_extra_is_installed_each_says_what_to_install(bare: Path) -> None:
    """The command, the contact sheet and the sandbox's pictures name their extra."""
    extra = 'pip install -e ".[cli]"'
    assert extra in python(bare.parent / "hoox-async", "check", code=2)
    assert extra in python(bare, "-m", "hoox_async", "--help", code=2)
    program = """
        import asyncio
        from hoox_async import BatchReport, ConfigurationError, PromptAvatar
        from hoox_async.sandbox import InProcessTransport, Sandbox, Space

        async def told(call):
            try:
                await call
            except ConfigurationError as error:
                print(error)

        async def main():
            await told(BatchReport([]).write_contact_sheet("never"))
            space = Space(speed=1e9)
            async with hoox_async.HooxSession(space.api_key, transport=InProcessTransport(space)) as session:
                job = await session.submit(PromptAvatar("a friendly host"))
                await told(session.picture(await job.status()))

        import hoox_async
        asyncio.run(main())
    """
    said = python(bare, "-W", "error", "-c", textwrap.dedent(program)).splitlines()
    assert [line.partition("pip install ")[2] for line in said] == [
        '-e ".[report]"',
        '-e ".[sandbox]"',
    ]


BLOCKER = """
import sys
from importlib.abc import MetaPathFinder

class Missing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
sys.argv = ["hoox-async", *{argv}]
from hoox_async.__main__ import main
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("missing", "argv", "extra"),
    [
        (["cyclopts"], ["check"], "cli"),
        (["rich"], ["check"], "cli"),
        (["jinja2"], ["report", "{store}"], "report"),
        (["PIL"], ["report", "{store}"], "report"),
        (["PIL"], ["demo", "--out", "{store}.demo"], "all"),
    ],
)
def test_a_command_without_its_extra_says_so(
    tmp_path: Path, missing: list[str], argv: list[str], extra: str
) -> None:
    """Exit code 2 and one line with what to install, however little of the extra is missing."""
    store = tmp_path / "batch.hoox.db"
    store.touch()
    words = [word.format(store=store) for word in argv]
    said = python(sys.executable, "-c", BLOCKER.format(names=set(missing), argv=words), code=2)
    assert f'pip install -e ".[{extra}]"' in said
    assert len(said.splitlines()) == 1
