"""What is read of a session or a repository is read to a limit, and as nothing but plain files."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from para_server.agents.reported import MAX_OUTPUT
from tests.client import Para
from tests.hostile.conftest import Bait
from tests.hostile.test_traps import on_host, within
from tests.scratch import Repository

MANY, SOME = 1_000_000, 5_000  # files: with --soak, and in a short run
TEN_MEGABYTES = 10 << 20
ESCAPES = "\x1b\x07\x00\u202e"

# how an agent leaves what it says of itself; each names the file $FILE
CLAIMS = {
    "garbage": "head -c 100000 /dev/urandom > $FILE",
    "huge": "truncate -s 300G $FILE",
    "link_to_a_secret": 'ln -s "$SECRET" $FILE',
    "fifo": "mkfifo $FILE",
    "folder": "mkdir $FILE; touch $FILE/x",
    "nothing": "true",
    "unreadable": "echo done > $FILE; chmod 0 $FILE",
    "escapes": "printf 'done\\n99999999999999999999\\n\\e]0;title\\a\\e[2J\\u202e\\n' > $FILE",
}
SETTINGS = {
    "fifo": "mkfifo .para.toml",
    "link": 'ln -s "$SECRET" .para.toml',
    "folder": "mkdir .para.toml",
    "huge": "truncate -s 300G .para.toml",
    "deep": "printf 'x = ' > .para.toml; head -c 400000 /dev/zero | tr '\\0' '[' >> .para.toml",
    "no_text": "head -c 1000 /dev/urandom > .para.toml; printf '\\xff' >> .para.toml",
}


def calm(text: str) -> bool:
    return not any(character in text for character in ESCAPES)


@pytest.mark.slice(4)
@pytest.mark.parametrize("claim", CLAIMS)
async def test_what_an_agent_says_of_itself_may_be(
    para: Para, repo: Repository, api: Any, bait: Bait, claim: str
) -> None:
    await para.call("para.dispatch", prompt="echo honest work > work.txt", name="trap")
    session = await para.agent("trap", "done")
    container = session["container"]["name"]
    put = "cd /para-agent/out; for FILE in state output code; do rm -rf $FILE; "
    done = within(api, container, f"{put}{CLAIMS[claim]}; done", bait)
    assert done.code == 0, done
    shown = [await para.call(f"para.{what}", name="trap") for what in ("show", "logs")]
    shown.append(await para.call("para.list"))
    assert calm(shown[0]["agent"]["detail"])
    assert calm(shown[1]["text"])
    assert len(shown[1]["text"]) <= 4 * MAX_OUTPUT
    await para.call("para.pause", name="trap")
    await para.call("para.resume", name="trap")
    result = await para.call("para.finish", name="trap", message="x")
    assert repo.show("para/trap:work.txt") == "honest work"
    bait.untouched(repo, *shown, result)


async def test_an_endless_output_is_shown_from_its_end(para: Para, api: Any, bait: Bait) -> None:
    session = await para.call("para.dispatch", prompt="true", name="trap")
    await para.agent("trap", "done")
    flood = "yes $'\\e[31m a line' | head -c 100M > /para-agent/out/output; printf '\\nend\\n' >> "
    container = session["container"]["name"]
    assert within(api, container, f"{flood}/para-agent/out/output", bait).code == 0
    text = (await para.call("para.logs", name="trap"))["text"]
    assert text.endswith("end\n")
    assert len(text) <= 4 * MAX_OUTPUT
    assert calm(text)
    few = (await para.call("para.logs", name="trap", tail=3))["text"]
    assert few.splitlines()[-1] == "end"
    assert len(few.splitlines()) == 3


async def test_an_agent_is_given_a_prompt_of_ten_megabytes(
    para: Para, repo: Repository, api: Any, bait: Bait
) -> None:
    prompt = f"echo honest work > work.txt\n#{'x' * TEN_MEGABYTES}"
    await para.call("para.dispatch", prompt=prompt, name="trap")
    session = await para.agent("trap", "done")
    assert session["prompt"] == prompt
    given = within(api, session["container"]["name"], "wc -c < /para-agent/in/prompt", bait)
    assert int(given.output) >= TEN_MEGABYTES
    await para.call("para.finish", name="trap", message="x")
    assert repo.show("para/trap:work.txt") == "honest work"


async def test_a_prompt_beyond_the_limit_is_refused(para: Para, tmp_path: Path) -> None:
    failed = await para.fails("command.invalid-params", "para.dispatch", prompt="x" * (17 << 20))
    assert "16 MiB" in failed.message
    # a record of it would be too long to be read again
    file = tmp_path / "prompt"
    file.write_bytes(b"x\x1b" * (5 << 20))
    failed = await para.fails("command.invalid-params", "para.dispatch", promptFile=str(file))
    assert "control characters" in failed.message
    assert not (await para.call("para.list", all=True))["sessions"]


@pytest.mark.parametrize("trap", SETTINGS)
async def test_a_repository_may_have_settings_that_are(
    servers: Callable[..., Awaitable[Para]], repo: Repository, bait: Bait, trap: str
) -> None:
    script = f"cd '{repo.path}'; {SETTINGS[trap]}"
    assert on_host(script, repo.path, bait).code == 0
    para = await servers()
    failed = await para.fails("settings.invalid", "para.start", name="trap")
    assert ".para.toml" in failed.message
    bait.untouched(repo, failed.message, failed.data)
    assert not (await para.call("para.list", all=True))["sessions"]


async def test_a_text_of_nothing_but_line_ends_takes_no_more_memory_than_others(
    servers: Callable[..., Awaitable[Para]], repo: Repository, api: Any, bait: Bait
) -> None:
    para = await servers(prefix=("prlimit", f"--as={2 << 30}"))
    session = await para.call("para.start", name="trap")
    lines = "yes '' | head -c 64M > lines.txt; echo honest work > work.txt"
    assert within(api, session["container"]["name"], lines, bait).code == 0
    shown = await para.call("para.diff", name="trap")
    assert {file["path"] for file in shown["files"]} == {"lines.txt", "work.txt"}
    assert "+honest work" in shown["patch"]
    await para.call("para.finish", name="trap", message="x")
    assert repo.show("para/trap:work.txt") == "honest work"


@pytest.mark.timeout(3600)
async def test_very_many_files_are_taken_out(
    servers: Callable[..., Awaitable[Para]],
    repo: Repository,
    api: Any,
    bait: Bait,
    request: pytest.FixtureRequest,
) -> None:
    count = MANY if request.config.getoption("--soak") else SOME
    para = await servers(extra={"PARA_GIT_MAX_SECONDS": "3000"})
    session = await para.call("para.start", name="trap")
    make = (
        "mkdir -p many/{0..999}; perl -e 'for my $n (0..$ARGV[0] - 1) {"
        ' open(F, ">many/" . $n % 1000 . "/$n") or die; print F $n; close F }\''
    )
    made = within(api, session["container"]["name"], f"{make} {count}", bait)
    assert made.code == 0, made
    sent = para.send("para.finish", [{"name": "trap", "message": "x"}])
    assert (await para.answer(sent, 3600))["files"] == count
    assert repo.show(f"para/trap:many/999/{count - 1}") == str(count - 1)


async def test_a_patch_of_many_megabytes_is_cut_and_says_so(
    para: Para, api: Any, bait: Bait
) -> None:
    session = await para.call("para.start", name="trap")
    lines = "for n in {1..12}; do yes | head -c 4M > $n.txt; done"
    assert within(api, session["container"]["name"], lines, bait).code == 0
    shown = await para.call("para.diff", name="trap")
    assert len(shown["files"]) == 12
    # that it is too large, or takes too long on a machine that is busy
    assert shown["omitted"]
    assert shown["patch"].splitlines()[-1] == f"# {shown['omitted'][-1]}"


MEMORY_MB = 300
FLOODS = {
    "escapes": b"\x1b" * (9 << 20) + "\U0001f4a9".encode(),
    "line ends": b"\x1e{}\n" + b"\n" * (9 << 20) + "\U0001f4a9".encode(),
    "events": b"\x1e{}\n" * (2 << 20),
    "events of a word": b"\x1eab\n" * (9 << 18) + "\U0001f4a9".encode(),
    "one event of many values": b'\x1e{"a": [' + b"[]," * (3 << 20),
    "a number": b"9" * (9 << 20),
    "short lines": b"a\n" * (5 << 20),
}


@pytest.mark.parametrize("flood", FLOODS)
async def test_whatever_an_agent_printed_takes_the_server_a_bounded_memory(
    para: Para, home: Path, flood: str
) -> None:
    session = await para.call("para.dispatch", prompt="sleep 36000", name="trap")
    await para.agent("trap", "working")
    out = home / "agents" / session["id"] / "out"
    for name in ("output", "begun"):
        (out / name).unlink(missing_ok=True)
        (out / name).write_bytes(FLOODS[flood])
    text = (await para.call("para.logs", name="trap"))["text"]
    assert len(text) <= MAX_OUTPUT
    assert calm(text)
    end = (await para.call("para.logs", name="trap", tail=3))["text"]
    assert end == "".join(text.splitlines(keepends=True)[-3:])
    assert most_memory(para) < MEMORY_MB


SPOILT = {
    "values": b"[" + b"[]," * (10 << 20),
    "empty texts": b"[" + b'"",' * (10 << 20),
    "a text without an end": b'"' + b'\\"' * (16 << 20),
    "a wide text": b'{"prompt": "\xf0\x9f\x92\xa9' + b"x" * (32 << 20) + b'"}',
    "a number": b"9" * (32 << 20),
    "depth": b"[" * (32 << 20),
    "a size without content": b"",
}


@pytest.mark.parametrize("spoilt", SPOILT)
async def test_whatever_is_in_the_place_of_a_record_takes_the_server_a_bounded_memory(
    para: Para, home: Path, spoilt: str
) -> None:
    await para.call("para.start", name="good", type="worktree")
    file = home / "sessions" / "spoilt-0a0a0a.json"
    file.write_bytes(SPOILT[spoilt])
    if spoilt == "a size without content":
        os.truncate(file, 300 << 30)
    for _ in range(3):  # what is kept of the first look would add up
        assert [one["name"] for one in (await para.call("para.list"))["sessions"]] == ["good"]
        failed = await para.fails("store.unreadable", "para.show", name="spoilt")
        assert str(file) in failed.message
    assert most_memory(para) < MEMORY_MB


async def test_of_branches_without_end_the_latest_are_listed(para: Para, repo: Repository) -> None:
    assert "main" in (await para.call("para.branches"))["branches"]
    head = repo.git("rev-parse", "HEAD")
    with (repo.path / ".git/packed-refs").open("w") as packed:
        for number in range(30_000):
            packed.write(f"{head} refs/heads/{number:06}{'x' * 4000}\n")
    listed = (await para.call("para.branches"))["branches"]
    assert listed
    assert all(len(name) in {4, 4006} for name in listed), "one was cut"
    assert most_memory(para) < MEMORY_MB


def most_memory(para: Para) -> int:
    """Tell the most that a server ever took, in MB."""
    status = Path(f"/proc/{para.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) >> 10
