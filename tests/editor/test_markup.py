"""Text of agents and repositories is shown without links and icons."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.editor.workbench import Window, Workbench
from tests.hostile.test_taint import LINK
from tests.scratch import Repository

TAINT = f"{LINK} $(alert) \u202eleft"
BRANCH = "x$(alert)](left"
AGENT = f"""
mkdir -p .vscode
echo x >'.vscode/{LINK} $(alert)'
printf 'waiting\\n%s\\n%s' "$(date +%s)" '{TAINT}' >/para-agent/out/state.new
mv /para-agent/out/state.new /para-agent/out/state
sleep 600
"""
SETUP = f"echo '{TAINT}'; sleep 1; echo '{TAINT}'; exit 3\n"


@pytest.fixture(scope="module")
def opened(
    workbench: Workbench, address: str, chromium: Browser, project: Repository
) -> Iterator[Window]:
    """Open a repository whose agent and branch names contain markup."""
    workbench.set(editor_server=str(Path(sys.executable).with_name("para-server")))
    project.commit("agent", **{"agent.sh": AGENT})
    project.git("branch", BRANCH)
    window = Window.open(chromium, address, project.path)
    window.wait_for_bar("Para 0/5")
    yield window
    window.page.context.close()


def assert_plain(element: Locator) -> None:
    """Assert that an element has the text, and no links or icons."""
    expect(element).to_contain_text("Answer")
    expect(element).to_contain_text("$ (alert)")
    expect(element.locator(".notification-list-item-message a")).to_have_count(0)
    expect(element.locator(".codicon-alert")).to_have_count(0)


def test_agent_output_is_shown_as_plain_text(opened: Window) -> None:
    opened.command("Para: Dispatch Agent")
    opened.answer("Dispatch Agent", "bash agent.sh")
    row = opened.row("x$ (alert)")
    expect(row).to_contain_text("x$ (alert)] (left")
    expect(row.locator(".codicon-alert")).to_have_count(0)
    opened.choose("HEAD")
    notice = opened.notice("waits for you").first
    assert_plain(notice)
    expect(notice).to_contain_text("\\u202eleft")


def test_file_names_are_shown_as_plain_text(opened: Window) -> None:
    opened.command("Para: Review Changes")
    label = opened.page.locator(".multiDiffEditor, .monaco-component.multiDiffEditor").first
    expect(label).to_contain_text("Answer")
    expect(label.locator(".codicon-alert")).to_have_count(0)
    opened.dismiss()
    opened.command("Para: Finish Session")
    opened.answer("Finish", "m")
    assert_plain(opened.notice("Created the branch para/").first)
    opened.dismiss()


def test_setup_output_is_shown_as_plain_text(opened: Window, project: Repository) -> None:
    project.commit("set-up", **{".para/setup.sh": SETUP})
    opened.command("Para: Start Session")
    opened.choose("HEAD")
    assert_plain(opened.notice("Set-up: ").first)
