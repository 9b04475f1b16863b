"""Records of another version of para, and damaged ones, beside those of this version."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.client import Para
from tests.scratch import Repository

Servers = Callable[..., Awaitable[Para]]
WITHOUT_ENGINE = {"PARA_CONTAINER_ENABLED": "false", "DOCKER_HOST": "unix:///nowhere/docker.sock"}
# a field of the session, a field of a part of it, and a number that no text is
FUTURE: dict[str, Any] = {
    "queuePosition": 3,
    "network2": {"mode": "allowlist"},
    "problem": {
        "slug": "session.future",
        "message": "it is of the future",
        "remedies": [{"title": "Wait", "after": "tomorrow"}],
        "since": "2031-01-01T00:00:00Z",
    },
}


async def record_of(para: Para, home: Path, name: str) -> tuple[Path, dict[str, Any]]:
    """Start a session, and return the file and the content of its record."""
    session = await para.call("para.start", name=name)
    file = home / "sessions" / f"{session['id']}.json"
    return file, json.loads(file.read_text())


async def test_records_of_other_versions_hide_no_session(
    servers: Servers, repo: Repository, api: Any, home: Path
) -> None:
    assert api.ping()  # `para.clean` needs an engine
    para = await servers(extra={"PARA_CONTAINER_ENABLED": "false"})
    newer, content = await record_of(para, home, "newer")
    newer.write_text(json.dumps(content | FUTURE))
    empty, _ = await record_of(para, home, "empty")
    empty.write_text("")
    cut, content = await record_of(para, home, "cut")
    cut.write_text(json.dumps(content)[:100])
    future, content = await record_of(para, home, "future")
    future.write_text(json.dumps(content | {"version": 99}))
    broken = {file: file.read_bytes() for file in (empty, cut, future)}
    names = [f"good-{number}" for number in range(9)]
    for name in names:
        session = await para.call("para.start", name=name)
        (Path(session["workspace"]) / "new.txt").write_text(name)

    listed = {one["name"]: one for one in (await para.call("para.list"))["sessions"]}
    assert listed.keys() == {*names, "newer"}
    assert listed["newer"]["problem"]["remedies"][0]["title"] == "Wait"
    checks = {check["name"]: check for check in (await para.call("para.doctor"))["checks"]}
    assert checks["records"]["level"] == "warning"
    for file in (newer, *broken):
        assert str(file) in checks["records"]["detail"]
    assert (await para.call("para.clean"))["removed"] == []
    for name in names:
        finished = await para.call("para.finish", name=name, message="work")
        assert repo.git("show", f"{finished['branch']}:new.txt") == name
    assert {file: file.read_bytes() for file in broken} == broken

    await para.call("para.cancel", name="newer")
    kept = json.loads(newer.read_text())
    assert (kept["state"], kept["queuePosition"], kept["network2"]) == (
        "cancelled",
        FUTURE["queuePosition"],
        FUTURE["network2"],
    )


async def test_session_has_a_title(servers: Servers) -> None:
    para = await servers(extra=WITHOUT_ENGINE)
    prompt = f"\n \n  fix\tthe login {'x' * 100}\nand more"
    dispatched = await para.call("para.dispatch", name="fix", prompt=prompt)
    assert dispatched["title"].startswith("fix the login xxx")
    assert len(dispatched["title"]) == 80
    assert (await para.call("para.start", name="mine"))["title"] == "mine"
    assert [one["engine"] for one in (await para.call("para.list"))["sessions"]] == [None, None]
