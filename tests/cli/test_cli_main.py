"""Running a command line: arguments, missing extras, keys, base URLs, and errors as single lines."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal

import pytest
from cli_kit import Cli

from hoox_async._cli import run, text
from hoox_async._cli.text import format_amount, format_duration, one_line, sanitize, shorten_list
from hoox_async._report import formatting

COMMANDS = (
    "demo", "sandbox", "create", "edit", "status", "wait", "looks", "check", "batch", "unknowns",
    "resolve", "report",
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
    assert len(rows) == len(COMMANDS) + len(GROUPS) + 2


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


def test_as_a_module() -> None:
    """`python -m hoox_async --version` works and writes the version."""
    command = [sys.executable, "-m", "hoox_async", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert done.stdout.strip()[0].isdigit()


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


@pytest.mark.parametrize(
    "number", ["0", "0.40", "1", "9.94", "9.96", "59.6", "72", "3600", "7500", "123456.5"]
)
def test_the_command_line_formats_as_the_report_does(number: str) -> None:
    """The command line's own copies of the report's formatting functions give the same texts."""
    value = Decimal(number)
    assert text.format_amount(value) == formatting.format_amount(value)
    assert text.format_credits(value) == formatting.format_credits(value)
    assert text.format_count(int(value), "look") == formatting.format_count(int(value), "look")
    assert text.format_duration(float(value)) == formatting.format_duration(float(value))
