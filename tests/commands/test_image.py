"""The image that sessions run in: `para.image.build`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from lsprotocol import types

from para_server.engine import podman
from tests import installed
from tests.client import Failed, Para, eventually

BASE = "para-base:latest"
CANCELLED = -32800
BUILD = "build"
Servers = Callable[..., Awaitable[Para]]


@pytest.mark.built_here
async def test_second_build_uses_the_cache_for_every_layer(para: Para, api: Any) -> None:
    before = api.inspect_image(BASE)
    para.lsp.progress_reports[BUILD] = []
    result = await para.answer(para.send("para.image.build", [{}], token=BUILD))
    assert (result["image"], result["id"], result["size"]) == (BASE, before["Id"], before["Size"])
    assert result["seconds"] >= 0
    begin, *reports, end = para.lsp.progress_reports[BUILD]
    assert (begin.title, end.kind) == ("Build Image", "end")
    assert any("Using cache" in report.message for report in reports)
    shares = [report.percentage for report in reports if report.percentage is not None]
    assert shares == sorted(shares)
    assert shares[-1] > 50


async def test_build_refuses_an_unknown_agent(para: Para) -> None:
    await para.fails("agent.unknown", "para.image.build", agent="nobody")


async def test_failed_build_shows_its_last_lines_and_keeps_the_image(
    servers: Servers, api: Any, tmp_path: Path
) -> None:
    before = api.inspect_image(BASE)["Id"]
    recipe = f"FROM {BASE}\nRUN echo nearly there; exit 3\n"
    broken = installed.with_recipe(tmp_path / "broken", recipe, anew=True)
    para = await servers(extra=broken, watching=False)
    refused = await para.fails("engine.build-failed", "para.image.build")
    assert "nearly there" in refused.message
    assert [remedy["command"] for remedy in refused.remedies] == ["para.image.build"] * 2
    assert api.inspect_image(BASE)["Id"] == before


def _command_lines() -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            found.append((process / "cmdline").read_bytes().decode(errors="replace"))
    return found


@pytest.mark.parametrize("how", ["request", "progress"])
async def test_cancelled_build_ends_on_the_engine(
    servers: Servers, api: Any, tmp_path: Path, how: str
) -> None:
    before = api.inspect_image(BASE)["Id"]
    mark = f"echo {tmp_path}"  # of this run alone: another one may build on another engine
    slow = installed.with_recipe(
        tmp_path / "slow", f"FROM {BASE}\nRUN {mark}; sleep 300\n", anew=True
    )
    para = await servers(extra=slow, watching=False)
    para.lsp.progress_reports[BUILD] = []

    async def building() -> list[str]:
        # the engine's own processes: Podman does not list the containers of a build
        return [found for found in await asyncio.to_thread(_command_lines) if mark in found]

    sent = para.send("para.image.build", [{"noCache": True}], token=BUILD, msg_id=BUILD)
    waiting = asyncio.ensure_future(sent)
    await eventually(building, bool)
    if how == "request":
        para.cancel(BUILD)
    else:
        para.lsp.window_work_done_progress_cancel(types.WorkDoneProgressCancelParams(token=BUILD))
    with pytest.raises(Failed) as caught:
        await para.answer(waiting)
    assert caught.value.code == CANCELLED
    if not podman.is_podman(api):  # that one goes on to the end of the step
        await eventually(building, lambda found: not found)
    assert api.inspect_image(BASE)["Id"] == before


async def test_build_output_is_shown_without_colours(servers: Servers, tmp_path: Path) -> None:
    said = r"printf '\033[1m\033[31mred\033[0m \033]0;title\007and \033[?25lplain\n'"
    recipe = f"FROM {BASE}\nRUN {said}; for i in 1 2 3 4 5 6; do echo line $i; done; exit 3\n"
    broken = installed.with_recipe(tmp_path / "broken", recipe, anew=True)
    para = await servers(extra=broken, watching=False)
    para.lsp.progress_reports[BUILD] = []
    with pytest.raises(Failed) as refused:
        await para.answer(para.send("para.image.build", [{"noCache": True}], token=BUILD))
    reports = [getattr(r, "message", None) for r in para.lsp.progress_reports[BUILD]]
    assert "red and plain" in reports
    lines = refused.value.message.split("\n")
    assert lines[1:] == [f"line {i}" for i in range(2, 7)]
    assert lines[0].endswith(("returned a non-zero code: 3", "exit status 3"))  # as Podman has it


@pytest.mark.parametrize(
    "said",
    [
        "curl: (60) SSL certificate problem: self-signed certificate in certificate chain",
        "npm error code SELF_SIGNED_CERT_IN_CHAIN",
        "Certificate verification failed: The certificate is NOT trusted.",
        "SSL: CERTIFICATE_VERIFY_FAILED",
        "x509: certificate signed by unknown authority",
        "unable to get local issuer certificate",
    ],
)
async def test_build_behind_an_untrusted_proxy_names_the_setting(
    servers: Servers, tmp_path: Path, said: str
) -> None:
    recipe = f"FROM {BASE}\nRUN echo '{said}'; seq 40; exit 3\n"
    broken = installed.with_recipe(tmp_path / "broken", recipe, anew=True)
    para = await servers(extra=broken, watching=False)
    refused = await para.fails("engine.build-failed", "para.image.build")
    assert refused.remedies[0]["setting"] == "container.caBundle"
    assert "SSL_CERT_FILE" in refused.remedies[0]["title"]
