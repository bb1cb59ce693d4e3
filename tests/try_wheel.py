"""``python tests/try_wheel.py [PYTHON …]``: build sdist and wheel, and try the wheel alone on each Python.

It needs the extra ``dev``. Each Python (this one, where none is named) gets an environment with the wheel and
its extra ``all`` alone, and runs from an empty folder. What the two files hold is tested by
``test_packaging.py``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROGRAM = """
import asyncio, sys
from hoox_async import BatchRunner, LookEdit, PromptAvatar, __version__
from hoox_async.sandbox import Sandbox

async def main():
    async with Sandbox() as sandbox, sandbox.session(store="looks.db") as session:
        alex = await session.run(PromptAvatar("Alex"), key="alex")
        report = await BatchRunner(session).run([LookEdit(alex, f"scene {n}") for n in range(10)])
        assert len(report.ready) == 10 and sandbox.credits_spent == 22
        print(await session.download(alex, "alex.jpg"))
    assert "site-packages" in sys.modules["hoox_async"].__file__
    print(__version__)

asyncio.run(main())
"""


def run(*command: object, folder: Path) -> str:
    """Run a program of an environment as a user would: with no variable that changes what it finds."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "HOOX"))}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=folder, env=kept, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def build(folder: Path) -> Path:
    """The wheel, made from the sdist."""
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, folder=folder)
    [wheel] = folder.glob("*.whl")
    return wheel


def try_on(python: str, wheel: Path, work: Path) -> str:
    """Install the wheel for this Python and use it. Returns the Python's version."""
    version = run(python, "-c", "import sys; print(sys.version.split()[0])", folder=work).strip()
    environment, folder = work / f"venv-{version}", work / f"elsewhere-{version}"
    folder.mkdir()
    run(python, "-m", "venv", environment, folder=folder)
    pip = (environment / "bin" / "pip", "--disable-pip-version-check")
    run(*pip, "install", "-q", "--no-compile", f"{wheel}[all]", folder=folder)
    run(*pip, "check", folder=folder)
    command = environment / "bin" / "hoox-async"
    run(command, "--help", folder=folder)
    run(command, "demo", "--out", "hoox-demo", folder=folder)
    assert (folder / "hoox-demo" / "contact-sheet" / "index.html").exists()
    said = run(environment / "bin" / "python", "-W", "error", "-c", PROGRAM, folder=folder).split()
    assert said == ["alex.jpg", wheel.name.split("-")[1]], said
    return version


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="hoox-wheel-") as place, ThreadPoolExecutor() as pool:
        work = Path(place)
        wheel = build(work)
        pythons = sys.argv[1:] or [sys.executable]
        for version in pool.map(lambda python: try_on(python, wheel, work), pythons):
            print(f"{wheel.name} works on Python {version}", flush=True)


if __name__ == "__main__":
    main()
