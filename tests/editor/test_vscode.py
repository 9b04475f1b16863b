"""The extension in a real workbench, with the real server and engine, as a person uses it.

The tests of this file share one window, and follow each other as a person's day does.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import expect

from para_server.core.settings import EngineSettings
from para_server.engine.endpoint import find_address
from tests import wire
from tests.editor.workbench import Switch, Window, Workbench
from tests.scratch import Repository

Containers = Callable[[], list[str]]
# an agent that changes files, asks a person something, and goes on with the answer
WORK = (
    "printf 'print(2)\\nprint(3)\\n' >src/app.py; echo '# Prices' >prices.md; rm README.md; "
    "printf 'waiting\\n%s\\nMay I change the prices?\\n' $(date +%s) >/para-agent/out/state; "
    "read answer; echo $answer >answer.txt"
)
MINUS = "\N{MINUS SIGN}"


def dispatch(window: Window, prompt: str) -> None:
    window.command("Para: Dispatch Agent")
    window.answer("Dispatch Agent", prompt)
    window.answer("Start From")


def test_extension_installs_a_missing_server(window: Window) -> None:
    window.notice("Installing the server").wait_for()
    window.wait_for_bar("Para 0/5")
    window.wait_for_bar_severity(None)


def test_empty_view_shows_the_first_steps(window: Window) -> None:
    window.view()
    expect(window.page.locator(".welcome-view").get_by_text("Dispatch a task")).to_be_visible()
    window.save_pictures("first")
    window.page.get_by_role("button", name="Dispatch Agent").first.click()
    expect(window.field).to_be_visible()
    window.page.keyboard.press("Escape")
    assert not window.has_command("Para: Pause Session")
    assert window.has_command("Para: Start Session")


def test_dispatch_updates_the_status_bar_and_the_view(window: Window) -> None:
    dispatch(window, WORK)
    window.wait_for_bar("Para 1/5")
    expect(window.sessions()).to_have_count(1)


def test_waiting_agent_notifies_once(window: Window) -> None:
    window.wait_for_bar_severity("warning")
    window.wait_for_bar("1 needs you")
    expect(window.notice("waits for you: May I change the prices?")).to_have_count(1)
    expect(window.sessions().first).to_contain_text(f"+3 {MINUS}2")
    window.save_pictures("waiting")


def test_terminal_answers_a_waiting_agent(window: Window) -> None:
    window.press("waits for you", "Open terminal")
    terminal = window.page.locator(".terminal-wrapper.active .xterm")
    terminal.wait_for()
    window.page.locator(".xterm textarea").first.focus()
    window.page.keyboard.type("go on\n")
    window.page.locator(".part.editor").click()
    window.wait_for_bar_severity(None)
    window.notice("is done").wait_for()


def test_review_opens_the_changes_in_the_diff_editor(window: Window) -> None:
    window.press("is done", "Review changes")
    editor = window.page.locator(".multiDiffEditor, .monaco-component.multiDiffEditor").first
    for text in ("answer.txt", "prices.md", "README.md", "app.py"):
        expect(editor.get_by_text(text).first).to_be_visible()
    expect(editor.get_by_text("go on").first).to_be_visible()
    window.command("View: Hide Panel")
    editor.locator(".line-delete").nth(3).wait_for()
    window.save_pictures("review")
    window.dismiss()


def test_pause_and_resume_a_session(window: Window, containers: Containers) -> None:
    window.command("Para: Pause Session")
    window.wait_for_bar("Para 0/5")
    window.wait_for_first_state("paused")
    assert containers() == []
    window.command("Para: Resume Session")
    window.wait_for_bar("Para 1/5")
    window.wait_for_first_state("done")


def test_finish_creates_the_branch(
    window: Window, project: Repository, containers: Containers
) -> None:
    window.command("Para: Finish Session")
    window.answer("Finish", "Raise the prices")
    notice = window.notice("Created the branch para/")
    expect(notice).to_contain_text(f"4 files, +4 {MINUS}2")
    branch = project.git("branch", "--list", "para/*", "--format=%(refname:short)")
    assert project.show(f"{branch}:answer.txt") == "go on"
    assert project.git("log", "-1", "--format=%s", branch) == "Raise the prices"
    assert containers() == []
    window.press("Created the branch para/", "Review Changes")
    expect(window.page.get_by_text("prices.md").first).to_be_visible()
    window.press("Reviewing", "Check Out")
    expect(window.page.locator('.statusbar-item[id^="status.scm"]').first).to_contain_text(branch)
    # the status bar names the branch as soon as it is being checked out
    wire.eventually(lambda: project.git("branch", "--show-current") == branch)
    project.git("switch", "-q", "main")
    window.command("View: Close All Editors")
    window.dismiss()


def test_cancelled_dispatch_is_rolled_back(
    window: Window, project: Repository, switch: Switch, containers: Containers, place: Path
) -> None:
    refs, records = project.refs(), sorted((place / "para/sessions").iterdir())
    switch.delay = 0.5
    dispatch(window, "sleep 60")
    window.notice("Dispatch Agent").get_by_role("button", name="Cancel").click()
    window.page.get_by_text("Cancelled and rolled back").wait_for()
    switch.delay = 0
    assert (project.refs(), containers()) == (refs, [])
    assert sorted((place / "para/sessions").iterdir()) == records
    assert list((place / "para/work").iterdir()) == []
    window.wait_for_bar("Para 0/5")


def test_remedy_of_the_container_limit_frees_a_container(
    window: Window, containers: Containers
) -> None:
    for number in range(1, 6):
        start(window)
        window.wait_for_bar(f"Para {number}/5")
    # VS Code shows but three notices within 800 ms, and sessions start faster than people type
    window.dismiss()
    assert window.has_command("Para: Start Session")
    start(window)
    window.notice("Maximum 5 containers reached").wait_for()
    expect(window.notice("Start Session")).to_have_count(0)
    window.save_pictures("limit")
    window.press("Maximum 5 containers reached", re.compile("Pause .*, the longest idle session"))
    window.wait_for_bar("Para 4/5")
    window.press("the longest idle session: done", "Try Again")
    window.answer("Start From")
    window.wait_for_bar("Para 5/5")
    assert len(containers()) == 5


def start(window: Window) -> None:
    window.command("Para: Start Session")
    window.answer("Start From")


def test_status_bar_item_lists_the_sessions(window: Window) -> None:
    preparing = window.page.locator('[role="treeitem"][aria-label*="preparing"]')
    expect(preparing).to_have_count(0)

    def click() -> None:
        window.bar.click()
        expect(window.row("Dispatch Agent")).to_be_visible()

    click()
    window.save_pictures("sessions", again=click)
    window.row("running · para/").click()
    for action in ("Review Changes", "Attach Terminal", "Pause", "Finish", "Cancel"):
        expect(window.row(action)).to_be_visible()
    window.page.keyboard.press("Escape")


def test_open_without_dev_containers_opens_a_terminal(window: Window) -> None:
    window.command("Para: Open Session")
    window.answer("Which session?")
    window.page.locator(".terminal-wrapper.active .xterm").wait_for()
    window.press("cannot open a container as a folder", "Install Dev Containers")
    window.command("View: Hide Panel")
    window.view()


def test_cancel_asks_which_session(window: Window, containers: Containers) -> None:
    for left in range(5, -1, -1):
        window.command("Para: Cancel Session")
        if left:
            window.answer("Which session?")
        expect(window.sessions()).to_have_count(left)
    window.dismiss()
    wait_until(lambda: containers() == [])


def test_stopped_engine_is_reported_until_it_is_back(window: Window, switch: Switch) -> None:
    switch.off()
    window.wait_for_bar("Para: no engine")
    window.wait_for_bar_severity("error")
    window.command("Para: Dispatch Agent")
    window.answer("Dispatch Agent", "true")
    window.notice("The container engine does not answer").wait_for()
    window.save_pictures("no-engine")
    switch.on()
    window.press("The container engine does not answer", "Check setup")
    expect(window.row("engine")).to_contain_text("at unix://")
    window.page.keyboard.press("Escape")
    window.wait_for_bar("Para 0/5")
    window.wait_for_bar_severity(None)
    window.dismiss()


def test_crashed_server_is_restarted_at_most_three_times(window: Window, place: Path) -> None:
    killed: set[int] = set()
    for _ in range(4):
        killed.add(kill_server(place, killed))
    window.wait_for_bar("Para: no server")
    window.command("Para: Pause Session")
    window.press("it stopped 4 times within 3 minutes", "Restart Server")
    window.wait_for_bar("Para 0/5")


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a condition outside the window."""
    latest = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < latest
        time.sleep(0.1)


def kill_server(place: Path, killed: set[int]) -> int:
    """Kill the server of this workbench as soon as a new one runs, and return its id."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                line = (process / "cmdline").read_bytes()
                if str(place).encode() in line and b"para_server.__main__" in line:
                    pid = int(process.name)
                    if pid not in killed:
                        os.kill(pid, signal.SIGKILL)
                        return pid
        time.sleep(0.05)
    raise AssertionError("there is no server")


def test_old_python_is_refused_and_another_one_used(
    window: Window, workbench: Workbench, place: Path
) -> None:
    python = place / "python"
    python.write_text("#!/bin/sh\necho 3.8.10\n")
    python.chmod(0o755)
    (installed,) = (place / "workbench/data").glob("User/globalStorage/para.para/server-*")
    shutil.rmtree(installed)
    workbench.set(editor_python=str(python))
    window.press(f"Para needs Python 3.11 or newer: {python} is 3.8.10", "Choose a Python")
    expect(window.page.get_by_text("para.editor.python").first).to_be_visible()
    window.wait_for_bar("Para: no server")
    workbench.set()
    window.wait_for_bar("Para 0/5")


def test_open_with_dev_containers_names_container_and_engine(
    attaching: Window, workbench: Workbench, place: Path, switch: Switch
) -> None:
    window = attaching
    window.wait_for_bar("Para 0/5")
    start(window)
    window.wait_for_bar("Para 1/5")
    wait_for_attach(window, None)
    meta = place / "home/.docker/contexts/meta" / hashlib.sha256(b"build").hexdigest()
    meta.mkdir(parents=True)
    docker = {"Name": "build", "Endpoints": {"docker": {"Host": switch.address}}}
    (meta / "meta.json").write_text(json.dumps(docker))
    workbench.set(engine_context="build")
    wait_for_attach(window, {"context": "build"})
    remote = Switch(None, find_address(EngineSettings(), os.environ))
    workbench.set(engine_host=remote.address)
    wait_for_attach(window, {"host": remote.address})
    workbench.set(engine_host="ssh://ada@far")
    wait_for_attach(window, {"host": "ssh://ada@far"})
    assert "-l ada -- far docker system dial-stdio" in (place / "ssh/ssh.log").read_text()


def wait_for_attach(window: Window, engine: dict[str, str] | None) -> None:
    """Open the session until VS Code attaches to it on the engine."""

    def is_attaching() -> bool:
        window.calls.clear()
        window.command("Para: Open Session")
        wait_until(lambda: window.pause() and bool(window.calls))
        window.page.wait_for_timeout(2000)  # a browser without that window may say so
        window.page.keyboard.press("Escape")
        assert "/para-session" in window.calls[-1]
        match = re.search(r"attached-container\+([0-9a-f]+)", window.calls[-1])
        assert match is not None, window.calls
        named = json.loads(bytes.fromhex(match[1]))
        assert named["containerName"].startswith("/para-session-")
        return bool(named.get("settings") == engine)

    wait_until(is_attaching)  # the settings take a moment to reach the server
