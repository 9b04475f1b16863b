"""Progress of a build while it runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests import installed
from tests.client import Failed, Para

BUILD = "build"


async def test_build_progress_omits_container_and_layer_lines(
    servers: Callable[..., Awaitable[Para]], tmp_path: Path
) -> None:
    recipe = "FROM para-base:latest\nRUN echo first\nRUN echo second; exit 3\n"
    broken = installed.with_recipe(tmp_path / "broken", recipe, anew=True)
    para = await servers(extra=broken, watching=False)
    para.lsp.progress_reports[BUILD] = []
    with pytest.raises(Failed, match="second"):
        await para.answer(para.send("para.image.build", [{"noCache": True}], token=BUILD))
    messages = [getattr(one, "message", None) or "" for one in para.lsp.progress_reports[BUILD]]
    assert [one for one in messages if one in {"first", "second"}] == ["first", "second"]
    assert sum(one.lower().startswith("step ") for one in messages) == 3
    assert not [one for one in messages if "Running in" in one or "intermediate container" in one]
