"""Running a command line: arguments, missing extras, keys, base URLs, and errors as single lines."""

from __future__ import annotations

import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from cli_kit import Cli, Terminal, run

from hoox_async._cli.terminal import one_line, program, sanitize, shorten_list
from hoox_async._core.formatting import format_amount, format_duration
from hoox_async.sandbox import Sandbox

COMMANDS = (
    "demo", "sandbox", "create", "edit", "status", "wait", "looks", "check", "batch", "unknowns",
    "resolve", "report", "download", "costs",
)  # fmt: skip
GROUPS = {"store": ("backup", "recover")}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(cli: Cli, command: str) -> None:
    """`COMMAND --help` explains the command and ends with 0; every command takes `--json`."""
    done = cli.bare(command, "--help")
    assert done.code == 0
    assert f"Usage: hoox-async {command}" in done.out
    assert "--json" in done.out


@pytest.mark.parametrize("group", GROUPS)
def test_every_group_has_help(cli: Cli, group: str) -> None:
    """`GROUP --help` lists the group's commands, and each has help of its own."""
    done = cli.bare(group, "--help")
    assert done.code == 0
    for command in GROUPS[group]:
        assert f" {command} " in done.out
        own = cli.bare(group, command, "--help")
        assert own.code == 0
        assert f"Usage: hoox-async {group} {command}" in own.out
        assert "--json" in own.out


def test_help_names_every_command(cli: Cli) -> None:
    """The program's own help lists all commands."""
    done = cli.bare("--help")
    assert done.code == 0
    assert [command for command in (*COMMANDS, *GROUPS) if f" {command} " not in done.out] == []


@pytest.mark.parametrize(("option", "said"), [("--max-credits", "a number"), ("--limit", "a whole number")])
def test_a_wrong_number_is_reported_without_type_names(cli: Cli, option: str, said: str) -> None:
    """The error for an option that is not a number says so in plain English, without the name of a type."""
    done = cli.bare("batch", "x.toml", option, "many")
    assert done.err == f"hoox-async: Invalid value for {option}: 'many' is not {said}. Try --help.\n"


def test_help_fits_a_terminal(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """On 80 columns each command is one line of the program's help: no row continues the one above it."""
    monkeypatch.setenv("COLUMNS", "80")
    rows = [line for line in cli.bare("--help").out.splitlines() if line.startswith("│")]
    assert [row for row in rows if row.startswith("│  ")] == []
    assert len(rows) == len(COMMANDS) + len(GROUPS) + 3


@pytest.mark.parametrize(
    "argv",
    [
        ("nonsense",),
        ("batch",),
        ("batch", "x.toml", "--nonsense"),
        ("batch", "x.toml", "--limit", "many"),
        ("batch", "x.toml", "--changed", "perhaps"),
        ("batch", "x.toml", "--api-key", "hx_live_1"),
        ("check", "--base-url", "http://elsewhere.test/api"),
        ("check", "--base-url", "https://user:pass@elsewhere.test/api"),
        ("check", "--rpm", "0"),
        ("check", "--key-file", "/nowhere/key"),
        ("sandbox", "--speed", "0"),
        ("sandbox", "--port", "70000"),
        ("sandbox", "--credits", "-1"),
    ],
)
def test_bad_use_is_code_2_in_one_line(cli: Cli, argv: tuple[str, ...]) -> None:
    """Bad use ends with code 2 and one line on stderr; stdout stays empty."""
    done = cli.bare(*argv)
    assert (done.code, done.out) == (2, "")
    assert len(done.err.strip().splitlines()) == 1
    assert done.err.startswith("hoox-async: ")


def test_without_a_key(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an API key the exit code is 3, and the line says how to give one."""
    monkeypatch.delenv("HOOX_API_KEY")
    done = cli.bare("check")
    assert done.code == 3
    assert "HOOX_API_KEY" in done.err
    assert "--key-file" in done.err


@pytest.mark.parametrize("missing", ["cyclopts", "rich"])
def test_without_the_extra(
    missing: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the extra the command says in one line how to install it."""
    monkeypatch.setitem(sys.modules, missing, None)
    assert run(["check"]) == 2
    assert 'pip install -e ".[cli]"' in capsys.readouterr().err


def test_an_unexpected_error_is_one_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug in the program itself is also reported in one line."""

    def broken() -> None:
        raise RuntimeError("the floor is gone")

    monkeypatch.setattr("hoox_async._cli.app.build", broken)
    done = cli.bare("check")
    assert done.code == 2
    assert "unexpected RuntimeError: the floor is gone" in done.err


@pytest.mark.parametrize(
    ("argv", "code", "kind"),
    [
        (("nonsense",), 2, "Misuse"),
        (("batch", "x.toml", "--limit", "many"), 2, "Misuse"),
        (("batch", "x.toml"), 2, "ConfigurationError"),
        (("check", "--base-url", "ftp://x.test"), 2, "ConfigurationError"),
        (("status", "look_1"), 2, "InvalidRequest"),
        (("report", "nowhere.db"), 2, "ConfigurationError"),
    ],
)
def test_errors_are_json_too(cli: Cli, argv: tuple[str, ...], code: int, kind: str) -> None:
    """With `--json` every error is also a line of JSON on stdout: its type, message and exit code."""
    done = cli.bare(*argv, "--json")
    assert done.code == code
    [error] = done.of("error")
    assert (error["type"], error["exit"]) == (kind, code)
    assert done.err == f"hoox-async: {error['message']}\n"


@pytest.mark.fast_clock
def test_an_api_error_is_json_too(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the API has its code and says whether it was charged."""
    monkeypatch.setenv("HOOX_API_KEY", "hx_live_wrong")
    [error] = cli("create", "a host", "--no-wait", "--json").of("error")
    assert (error["type"], error["charged"], error["exit"]) == ("AuthenticationError", "no", 3)


def test_an_unknown_option_is_named(cli: Cli) -> None:
    """An unknown option before the file is reported by its name, though - stands for stdin."""
    assert "--nonsense" in cli.bare("batch", "--nonsense", "x.toml").err
    assert "FILE" in cli.bare("batch", "--limit", "2").err


@pytest.mark.slow
def test_completion_can_be_installed(tmp_path: Path) -> None:
    """`--install-completion` writes a script for the shell that names the commands."""
    command = [sys.executable, "-m", "hoox_async", "--install-completion", "--shell", "bash"]
    environment = {**os.environ, "HOME": str(tmp_path), "SHELL": "/bin/bash"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    scripts = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert any("download" in script and "hoox" in script for script in scripts)


@pytest.mark.slow
@pytest.mark.parametrize("started", ["module", "script"])
def test_printed_commands_start_as_this_one_did(tmp_path: Path, started: str) -> None:
    """A printed command begins with the words that started the program: it runs where this one ran."""
    script = Path(sys.executable).with_name("hoox-async")
    words = [sys.executable, "-m", "hoox_async"] if started == "module" else [str(script)]
    with Sandbox(speed=1000) as sandbox:
        sandbox.hold()
        done = subprocess.run(
            [*words, "create", "a host", "--timeout", "0", "--base-url", sandbox.base_url],
            capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
            env={**os.environ, "HOOX_API_KEY": sandbox.api_key, "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
    assert done.returncode == 4, done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"  {' '.join(words)} wait ")


def test_a_program_on_the_path_is_printed_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that the shell finds by its name is printed as that name."""
    script = Path(sys.executable).with_name("hoox-async")
    monkeypatch.setenv("PATH", str(script.parent))
    monkeypatch.setattr(sys, "argv", [str(script)])
    assert program() == ["hoox-async"]


@pytest.mark.parametrize("columns", ["40", "160"])
def test_help_fits_every_width(cli: Cli, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    """No line of any help is wider than the terminal, and without colour it has no control characters."""
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("NO_COLOR", "1")
    for command in ((), *((command,) for command in COMMANDS)):
        out = cli.bare(*command, "--help").out
        assert max(map(len, out.splitlines())) <= int(columns)
        assert "\x1b" not in out


def test_a_table_fits_a_narrow_terminal(
    cli: Cli, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table that is too wide for the terminal is written with two lines for each row, and loses nothing."""
    monkeypatch.setenv("COLUMNS", "40")
    rows = [["avtr_5885197468a1:look_e276ce65fbe0", "alex", "7", "studio"]]
    Terminal().table(["look", "avatar", "ready", "place"], rows, numbers=["ready"], whole=["look"])
    assert capsys.readouterr().out == f"{rows[0][0]}\n  alex, ready 7, studio\n"


@pytest.mark.slow
def test_as_a_module() -> None:
    """`python -m hoox_async --version` works and writes the version."""
    command = [sys.executable, "-m", "hoox_async", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert done.stdout.strip()[0].isdigit()


@pytest.mark.slow
def test_main_imports_no_extra() -> None:
    """Importing `hoox_async.__main__` imports neither cyclopts nor rich."""
    program = "import sys, hoox_async.__main__ as m; print({'cyclopts', 'rich'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "set()", done.stderr


def test_numbers_and_texts_are_formatted_for_people() -> None:
    """Numbers have no needless digits; text is cut where it is long and cannot control the terminal."""
    assert [format_amount(Decimal(number)) for number in ("2.00", "3.5", "1204")] == ["2", "3.5", "1,204"]
    assert [format_duration(s) for s in (0.44, 41.2, 72, 3600, 7500)] == [
        "0.4 s", "41 s", "1 min 12 s", "1 h", "2 h 5 min",
    ]  # fmt: skip
    assert shorten_list(["a", "b", "c"], 2) == "a, b and 1 more"
    assert "\x1b" not in sanitize("\x1b[31mred\x1b[0m\x07")
    assert one_line("a\nb" + "c" * 300).endswith("…")
