"""The extension in a real workbench, with the real server and engine, as a person uses it."""

from __future__ import annotations

from tests.editor.workbench import Window


def test_a_machine_without_the_server_gets_one_of_its_own(window: Window) -> None:
    window.notice("installing the server").wait_for()
    window.bar_says("Para 0/5")
