"""One look at a time: create, edit, status, wait, looks, check."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from cli_kit import Cli

from hoox_async._cli.pictures import free_name
from hoox_async.sandbox import Fault, Sandbox


def _ref(cli: Cli) -> str:
    return cli("create", "--image", "https://images.test/a.jpg", "--no-wait").out.strip()


def test_create_waits_and_saves(cli: Cli, tmp_path: Path) -> None:
    """`create` makes one avatar, waits for it, prints its ref and cost, and saves the picture as named."""
    done = cli("create", "a friendly host", "--resolution", "4K", "--out", tmp_path / "host.jpg")
    assert done.code == 0
    [charge] = cli.sandbox.ledger
    assert charge.credits == 4
    assert f"accepted: {charge.ref} (4 credits)" in done.err
    assert f"{charge.ref} is ready" in done.out
    assert (tmp_path / "host.jpg").read_bytes().startswith(b"\xff\xd8")


def test_create_from_images_costs_nothing(cli: Cli) -> None:
    """`create --image` sends the URLs and spends no credits."""
    assert cli("create", "--image", "https://images.test/a.jpg", "--name", "Ada").code == 0
    [charge] = cli.sandbox.ledger
    assert charge.credits == 0
    assert charge.request["imageUrls"] == ["https://images.test/a.jpg"]


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("a host", "--image", "https://images.test/a.jpg"),
        ("--image", "https://images.test/a.jpg", "--style", "car"),
        ("--image", "portrait.jpg"),
        ("a host", "--style", "cartoon"),
        ("a host", "--resolution", "8K"),
        ("  ",),
    ],
)
def test_create_refuses_bad_input(cli: Cli, words: tuple[str, ...]) -> None:
    """A wrong or contradictory option ends with code 2 and one line, and nothing is sent."""
    done = cli("create", *words)
    assert done.code == 2
    assert len(done.err.strip().splitlines()) == 1
    assert cli.sandbox.requests == []


@pytest.mark.parametrize("out", ["there.jpg", "there.jpg/", "there.jpg/new.jpg"])
def test_out_is_checked_before_anything_is_paid(cli: Cli, tmp_path: Path, out: str) -> None:
    """`create --out` with a path that cannot be written ends with code 2, and nothing is sent."""
    (tmp_path / "there.jpg").write_text("mine")
    done = cli("create", "a host", "--out", f"{tmp_path}/{out}")
    assert done.code == 2
    assert f"--out {tmp_path}/{out}" in done.err
    assert cli.sandbox.requests == []


def test_out_is_checked_under_the_name_that_a_picture_of_another_type_gets(cli: Cli, tmp_path: Path) -> None:
    """`create --out host.png` is refused before it pays if host.jpg exists, the name that the look would get.

    The look of a key that is in the store is not refused: the file is its own picture.
    """
    host = ("--key", "host", "--store", tmp_path / "looks.db")
    assert cli("create", "a host", "--out", tmp_path / "host.png", *host).code == 0
    assert (tmp_path / "host.jpg").exists()
    assert cli("create", "a host", "--out", tmp_path / "host.png", *host).code == 0
    done = cli("create", "a host", "--out", tmp_path / "host.png")
    assert done.code == 2
    assert "host.jpg" in done.err
    assert "choose another name" in done.err
    assert len(cli.sandbox.ledger) == 1


def test_the_printed_name_for_a_picture_is_free_whatever_type_the_picture_has(tmp_path: Path) -> None:
    """The name that a printed command saves under is free with every suffix that a picture can get."""
    assert free_name(f"{tmp_path}/host.png") == f"{tmp_path}/host.png"
    (tmp_path / "host.jpg").touch()
    (tmp_path / "host-2.webp").touch()
    assert free_name(f"{tmp_path}/host.png") == f"{tmp_path}/host-3.png"
    assert free_name(f"{tmp_path}/") == f"{tmp_path}/"


def test_out_without_waiting_is_refused(cli: Cli, tmp_path: Path) -> None:
    """`--no-wait --out` ends with code 2, because a picture exists only once the look is ready."""
    done = cli("create", "a host", "--no-wait", "--out", tmp_path / "host.jpg")
    assert done.code == 2
    assert "--no-wait and --out" in done.err
    assert cli.sandbox.requests == []


def test_a_picture_that_could_not_be_saved_can_be_fetched_with_the_printed_command(
    cli: Cli, tmp_path: Path
) -> None:
    """If saving fails, `create` ends with code 4 and prints the command that saves the picture."""
    cli.sandbox.fail_next("picture", Fault.BAD_GATEWAY, times=1)
    done = cli("create", "a host", "--out", tmp_path / "host.jpg")
    assert done.code == 4
    assert "the picture could not be saved" in done.err
    words = shlex.split(done.err.splitlines()[-1])
    assert words[1:2] == ["wait"]
    assert cli.bare(*words[1:]).code == 0
    assert (tmp_path / "host.jpg").exists()
    assert len(cli.sandbox.ledger) == 1


def test_edit_sends_what_was_typed(cli: Cli) -> None:
    """`edit` sends each of its options as typed, and prints the look."""
    done = cli(
        "edit", _ref(cli), "rainy street", "--style", "raw", "--format", "horizontal", "--resolution", "1K",
        "--image", "https://images.test/umbrella.jpg", "--upscale", "--look-name", "Rain",
        "--place", "street", "--tag", "summer", "--tag", "new", "--json",
    )  # fmt: skip
    assert done.code == 0
    charge = cli.sandbox.ledger[-1]
    assert charge.credits == Decimal("3.5")
    source = {"endpoint", "avatar_id", "look_id", "prompt"}
    assert {name: value for name, value in charge.request.items() if name not in source} == {
        "look_name": "Rain", "place": "street", "tags": ["summer", "new"], "style": "raw",
        "format": "horizontal", "resolution": "1K",
        "images": ["https://images.test/umbrella.jpg"], "upscale": True,
    }  # fmt: skip
    assert done.of("accepted")[0]["credits"] == "3.5"
    assert done.of("look")[0]["status"] == "ready"


@pytest.mark.fast_clock
def test_a_refused_request_says_that_nothing_was_paid(cli: Cli) -> None:
    """An `edit` that the API refuses, or a server that can't be reached, is told together with its cost."""
    refused = cli("edit", "avtr_none:look_none", "a scene")
    assert refused.code == 2
    assert "Nothing was paid" in refused.err
    unreached = cli.bare("create", "a host", "--base-url", "http://127.0.0.1:1/v1", "--timeout", "0")
    assert unreached.code == 4
    assert "Nothing was paid" in unreached.err


def test_a_source_that_is_no_look_is_named_as_it_was_typed(cli: Cli) -> None:
    """A wrong ref is reported as the argument that was typed, not as the library's field."""
    assert "hoox-async: SOURCE: 'nobody'" in cli("edit", "nobody", "a scene").err
    assert "hoox-async: LOOK: 'nobody'" in cli("status", "nobody").err


def test_a_key_of_another_request_says_what_to_do(cli: Cli, tmp_path: Path) -> None:
    """The same key with another prompt costs nothing, and the message says so and how to go on."""
    host = ("--key", "host", "--store", tmp_path / "looks.db", "--no-wait")
    assert cli("create", "a host", *host).code == 0
    done = cli("create", "a guest", *host)
    assert done.code == 2
    assert "Nothing was paid; for another look give another --key" in done.err
    assert len(cli.sandbox.ledger) == 1


def test_a_failed_look_is_code_1(cli: Cli) -> None:
    """A look whose generation failed ends `edit` with code 1 and the reason."""
    done = cli("edit", _ref(cli), "this one will [fail]")
    assert done.code == 1
    assert "generation failed" in done.err


def test_a_lost_request_is_code_4_and_reported_as_maybe_paid(cli: Cli) -> None:
    """A POST whose answer is lost is not sent again; it ends with code 4 and a line that it may be paid."""
    cli.sandbox.fail_next("create", Fault.DROP_AFTER)
    done = cli("create", "a host")
    assert done.code == 4
    assert "may have been paid" in done.err
    assert "charged" not in done.err  # said once
    assert f"hoox-async looks --base-url {cli.sandbox.base_url}" in done.err
    assert len(cli.sandbox.ledger) == 1


def test_no_wait_gives_the_ref_at_once(cli: Cli) -> None:
    """`--no-wait` prints the ref and nothing else on stdout, while the look is still being made."""
    cli.sandbox.hold()
    done = cli("create", "a host", "--no-wait")
    assert (done.code, done.out.strip()) == (0, str(cli.sandbox.ledger[0].ref))


def test_a_wait_that_is_too_short_prints_how_to_go_on(cli: Cli) -> None:
    """A look that is not ready in time ends with code 4 and prints a command that goes on waiting."""
    cli.sandbox.hold()
    done = cli("create", "a host", "--timeout", "0.1")
    ref = str(cli.sandbox.ledger[0].ref)
    assert done.code == 4
    assert f"hoox-async wait {ref} --base-url {cli.sandbox.base_url}" in done.err
    cli.sandbox.settle(ref, "ready")
    assert cli("wait", ref).code == 0


def test_status_prints_each_look_and_returns_the_worst_code(cli: Cli) -> None:
    """`status` asks for each look once; its code is 4 while one is not settled, and 1 if one failed."""
    ready = _ref(cli)
    cli.sandbox.hold()
    cli("edit", ready, "a scene", "--no-wait")
    second = str(cli.sandbox.ledger[-1].ref)
    done = cli("status", ready, second, "--json")
    assert done.code == 4
    assert {r["ref"]: r["status"] for r in done.of("look")} == {ready: "ready", second: "processing"}
    cli.sandbox.settle(second, "failed")
    assert cli("status", ready, second).code == 1
    assert cli("status", ready).code == 0


def test_status_of_a_look_that_is_not_there(cli: Cli) -> None:
    """A look that does not exist is reported by its ref with code 2; the others are still printed."""
    ready = _ref(cli)
    done = cli("status", "avtr_x:look_x", ready)
    assert done.code == 2
    assert "avtr_x:look_x: HTTP 404" in done.err
    assert ready in done.out


@pytest.mark.parametrize("words", [(), ("look_123",)])
def test_status_needs_refs(cli: Cli, words: tuple[str, ...]) -> None:
    """`status` without a ref, or with a text that is not a ref, ends with code 2."""
    assert cli("status", *words).code == 2


def test_wait_saves_several(cli: Cli, tmp_path: Path) -> None:
    """`wait --out` waits for several looks together and saves each picture in the folder."""
    first = _ref(cli)
    cli("edit", first, "a scene", "--no-wait")
    second = str(cli.sandbox.ledger[-1].ref)
    done = cli("wait", first, second, "--out", tmp_path / "pictures", "--json")
    assert done.code == 0
    assert len(list((tmp_path / "pictures").iterdir())) == 2
    assert {record["ref"] for record in done.of("picture")} == {first, second}


def test_wait_does_not_overwrite_a_file(cli: Cli, tmp_path: Path) -> None:
    """`wait --out` does not overwrite an existing file: it ends with code 2."""
    there = tmp_path / "mine.jpg"
    there.write_text("mine")
    assert cli("wait", _ref(cli), "--out", there).code == 2
    assert there.read_text() == "mine"


def test_looks_lists_and_filters(cli: Cli) -> None:
    """`looks` lists the workspace's looks first; filters reach the API as it spells them."""
    ref = _ref(cli)
    assert cli("looks").out.splitlines()[2].startswith(ref)
    done = cli("looks", "--gender", "female", "--gender", "male", "--only-public", "--no-selfie", "--json")
    assert done.code == 0
    params = cli.sandbox.requests[-1].params
    assert params == {"gender": "female,male", "onlyPublic": "true", "selfie": "false"}
    assert all("avtr_public" in record["ref"] for record in done.of("look"))


def test_looks_shows_no_more_than_the_limit(cli: Cli) -> None:
    """`looks --limit` shows this many looks and the number of the others."""
    done = cli("looks", "--limit", "2")
    assert done.out.count("avtr_public") == 2
    assert "4 not shown" in done.err


def test_check_prints_the_quota(cli: Cli) -> None:
    """`check` sends one request, spends nothing and prints the quota, with the time at which all is free."""
    done = cli("check", "--json")
    assert done.code == 0
    (record,) = done.records
    resets_at = datetime.fromisoformat(record.pop("resets_at"))
    assert resets_at > datetime.now(UTC)
    assert record == {"event": "check", "key": "ok", "limit": 6000, "remaining": 5999}
    assert len(cli.sandbox.requests) == 1


def test_a_slash_makes_a_folder(cli: Cli, tmp_path: Path) -> None:
    """`--out NAME/` makes the folder and saves the picture under a name made from the look's ref."""
    for command in (("create", "a friendly host"), ("wait", _ref(cli))):
        folder = tmp_path / command[0]
        done = cli(*command, "--out", f"{folder}/")
        [file] = folder.iterdir()
        assert (done.code, file.suffix) == (0, ".jpg")
        assert f"saved {file}" in done.out


def test_check_of_another_server(cli: Cli) -> None:
    """`check` recognises that a server which answers 404 to everything is not the API."""
    done = cli.bare("check", "--base-url", cli.sandbox.base_url.removesuffix("/v1"))
    assert (done.code, done.out) == (2, "")
    assert "a server answers there, but it is not the API" in done.err


@pytest.mark.fast_clock
def test_check_with_a_bad_key(cli: Cli, tmp_path: Path) -> None:
    """`check` with a wrong key ends with code 3 and one line that does not show the key."""
    secret = tmp_path / "key"
    secret.write_text("hx_live_wrong\n")
    done = cli("check", "--key-file", secret)
    assert done.code == 3
    assert "401" in done.err
    assert "hx_live_wrong" not in done.out + done.err


def test_the_key_comes_from_a_file(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--key-file` wins over the environment, and spaces around the key don't matter."""
    secret = tmp_path / "key"
    secret.write_text(f"  {cli.sandbox.api_key}\n")
    monkeypatch.setenv("HOOX_API_KEY", "hx_live_other")
    assert cli("check", "--key-file", secret).code == 0


def test_without_credits_it_is_code_3(cli: Cli, sandbox: Sandbox) -> None:
    """`create` in a workspace without credits ends with code 3."""
    sandbox.space.balance = Decimal(1)
    done = cli("create", "a host")
    assert done.code == 3
    assert "402" in done.err
    assert "Nothing was paid; once the workspace has credits, go on with the same command" in done.err


def test_the_same_key_is_paid_for_once(cli: Cli, tmp_path: Path) -> None:
    """`create` and `edit` with `--key` and `--store` pay once, however often they run, and give the look."""
    store, source = tmp_path / "looks.db", _ref(cli)
    for command in (("create", "a host"), ("edit", source, "rainy street")):
        paid = len(cli.sandbox.ledger) + 1
        words = (*command, "--key", command[0], "--store", store, "--out", tmp_path / f"{command[0]}.jpg")
        for _ in range(3):
            done = cli(*words, "--json")
            assert done.code == 0
            assert len(cli.sandbox.ledger) == paid
            assert done.of("look")[0]["ref"] == str(cli.sandbox.ledger[-1].ref)
        assert done.of("accepted")[0]["credits"] == "0"
        assert "nothing is paid again" in done.err


def test_a_key_goes_on_with_a_look_that_was_not_ready(cli: Cli, tmp_path: Path) -> None:
    """A second run under a key waits for the look that the first one paid for."""
    words = ("create", "a host", "--key", "a", "--store", tmp_path / "looks.db")
    cli.sandbox.hold()
    assert cli(*words, "--timeout", "0.1").code == 4
    again = cli(*words, "--timeout", "0.1")
    assert again.code == 4
    assert f"wait {cli.sandbox.ledger[0].ref}" in again.err
    cli.sandbox.release()
    assert cli(*words).code == 0
    assert len(cli.sandbox.ledger) == 1


def test_a_key_needs_a_store(cli: Cli, tmp_path: Path) -> None:
    """`--key` without `--store`, an empty key and a store that is a URL or a folder are code 2, unpaid."""
    for words in (("--key", "a"), ("--key", " ", "--store", "x.db"), ("--store", "mysql://u:pw@h/d"),
                  ("--store", f"{tmp_path}/")):  # fmt: skip
        done = cli("create", "a host", *words)
        assert done.code == 2
        assert words[0] in done.err or "--store" in done.err
        assert "pw" not in done.err
    assert cli.sandbox.requests == []


def test_a_key_of_another_request_is_refused(cli: Cli, tmp_path: Path) -> None:
    """The same key with another prompt is code 2, and nothing is sent."""
    options = ("--key", "a", "--store", tmp_path / "looks.db")
    cli("create", "a host", *options)
    assert cli("create", "a guest", *options).code == 2
    assert len(cli.sandbox.ledger) == 1


def test_another_file_is_never_replaced_under_a_key(cli: Cli, tmp_path: Path) -> None:
    """If `--out` is another file, a second run under a key leaves it and prints a command that works."""
    mine = tmp_path / "mine.jpg"
    words = ("create", "a host", "--key", "a", "--store", tmp_path / "looks.db")
    cli(*words)
    mine.write_text("mine")
    done = cli(*words, "--out", mine)
    assert (done.code, mine.read_text()) == (4, "mine")
    assert cli.bare(*shlex.split(done.err.splitlines()[-1])[1:]).code == 0
    assert (tmp_path / "mine-2.jpg").is_file()


def test_a_lost_request_prints_how_to_decide(cli: Cli, tmp_path: Path) -> None:
    """With a store, a lost request prints the command that settles it."""
    store = tmp_path / "looks.sqlite"
    cli.sandbox.fail_next("create", Fault.DROP_AFTER)
    done = cli("create", "a host", "--key", "a", "--store", store)
    assert done.code == 4
    words = shlex.split(done.err.splitlines()[-2])[1:]
    assert words[:3] == ["resolve", str(store), "a"]
    assert cli.bare(*words[:3], str(cli.sandbox.ledger[0].ref), *words[3:]).code == 0
    assert cli("create", "a host", "--key", "a", "--store", store).code == 0
    assert len(cli.sandbox.ledger) == 1


@pytest.mark.parametrize(("typed", "saved"), [
    ("host.png", "host.jpg"), ("host.WEBP", "host.jpg"), ("host.jpeg", "host.jpeg"),
    ("host.JPG", "host.JPG"), ("host", "host"), ("host.v2", "host.v2"),
])  # fmt: skip
def test_a_file_is_named_after_the_kind_of_picture(cli: Cli, tmp_path: Path, typed: str, saved: str) -> None:
    """A JPEG is never saved under the suffix of another kind of picture; the command says its real name."""
    done = cli("create", "a host", "--out", tmp_path / typed)
    assert done.code == 0
    assert [file.name for file in tmp_path.iterdir()] == [saved]
    assert f"saved {tmp_path / saved}" in done.out
    assert ("its name is" in done.err) == (typed != saved)


def test_errors_name_what_was_typed(cli: Cli, tmp_path: Path) -> None:
    """Errors name the option of the command line, not the parameter of the library."""
    assert "--base-url: " in cli.bare("check", "--base-url", "ftp://x.test").err
    assert "--rpm: " in cli.bare("check", "--rpm", "0").err
    assert "--image: 'me.jpg'" in cli("create", "--image", "me.jpg").err
    assert "--element-image: 'me.jpg'" in cli("create", "a host", "--element-image", "me.jpg").err
    assert "PROMPT: " in cli("create", " ").err


def test_quiet_and_verbose(cli: Cli) -> None:
    """`-q` writes results alone, `-v` logs what happens to looks and `-vv` each request; never the key."""
    quiet = cli("create", "a host", "-q")
    assert (quiet.code, quiet.err) == (0, "")
    assert "is ready" in quiet.out
    cli.sandbox.hold()
    late = cli("create", "a host", "--timeout", "0.1", "-q")
    assert "go on with" in late.err
    cli.sandbox.release()
    verbose = cli("create", "a host", "-v").err
    assert "INFO" in verbose
    assert "DEBUG" not in verbose
    assert "DEBUG   create: HTTP 201" in cli("create", "a host", "-vv").err
    assert cli.sandbox.api_key not in verbose
    assert cli("check", "-q", "-v").code == 2
