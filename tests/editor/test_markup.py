"""In a real workbench nothing that an agent or a repository wrote is a link or an icon."""

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
    """Open a repository that has an agent and a branch of this kind."""
    workbench.set(editor_server=str(Path(sys.executable).with_name("para-server")))
    project.commit("agent", **{"agent.sh": AGENT})
    project.git("branch", BRANCH)
    window = Window.open(chromium, address, project.path)
    window.bar_says("Para 0/5")
    yield window
    window.page.context.close()


def inert(found: Locator) -> None:
    """Show that a text is there, and that nothing in it can be clicked or is drawn as an icon."""
    expect(found).to_contain_text("Answer")
    expect(found).to_contain_text("$ (alert)")
    expect(found.locator(".notification-list-item-message a")).to_have_count(0)
    expect(found.locator(".codicon-alert")).to_have_count(0)


def test_what_an_agent_says_is_text(opened: Window) -> None:
    opened.command("Para: Dispatch Agent")
    opened.answer("Dispatch Agent", "bash agent.sh")
    row = opened.row("x$ (alert)")
    expect(row).to_contain_text("x$ (alert)] (left")
    expect(row.locator(".codicon-alert")).to_have_count(0)
    opened.choose("HEAD")
    notice = opened.notice("waits for you").first
    inert(notice)
    expect(notice).to_contain_text("\\u202eleft")


def test_names_of_files_are_text(opened: Window) -> None:
    opened.command("Para: Review Changes")
    label = opened.page.locator(".multiDiffEditor, .monaco-component.multiDiffEditor").first
    expect(label).to_contain_text("Answer")
    expect(label.locator(".codicon-alert")).to_have_count(0)
    opened.dismiss()
    opened.command("Para: Finish Session")
    opened.answer("Finish", "m")
    inert(opened.notice("Created the branch para/").first)
    opened.dismiss()


def test_what_a_set_up_script_prints_is_text(opened: Window, project: Repository) -> None:
    project.commit("set-up", **{".para/setup.sh": SETUP})
    opened.command("Para: Start Session")
    opened.choose("HEAD")
    inert(opened.notice("Set-up: ").first)
