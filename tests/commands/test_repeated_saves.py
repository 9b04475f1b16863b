"""Saving a session more often than an image may have layers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.client import Para

MORE_THAN_LAYERS = 130


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_session_is_saved_more_often_than_the_layer_limit(para: Para, api: Any) -> None:
    session = await para.call("para.start", name="saved")
    container = session["container"]["name"]
    for turn in range(MORE_THAN_LAYERS):
        made = api.exec_create(container, ["sh", "-c", f"echo {turn} > /home/para/turn"])
        api.exec_start(made["Id"])
        await para.call("para.pause", name="saved")
        await para.call("para.resume", name="saved")
    output = api.exec_start(api.exec_create(container, ["cat", "/home/para/turn"])["Id"])
    assert output.decode().strip() == str(MORE_THAN_LAYERS - 1)
