"""Drive a VS Code workbench: code-server in Debian's chromium."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeout

ROOT = Path(__file__).resolve().parents[2]
INSTALLED = ROOT / ".cache" / "workbench"
FAILURES = ROOT / ".cache" / "editor-failures"
PICTURES = ROOT / "docs" / "editor"
CODE_SERVER = INSTALLED / "node_modules/code-server/out/node/entry.js"
PATIENCE = int(os.environ.get("EDITOR_PATIENCE", "60000"))  # milliseconds
SETTINGS = """{
  "workbench.startupEditor": "none",
  "workbench.tips.enabled": false,
  "workbench.enableExperiments": false,
  "workbench.colorTheme": "Default Dark Modern",
  "workbench.preferredDarkColorTheme": "Default Dark Modern",
  "workbench.preferredLightColorTheme": "Default Light Modern",
  "telemetry.telemetryLevel": "off",
  "extensions.ignoreRecommendations": true,
  "window.commandCenter": false,
  "chat.commandCenter.enabled": false,
  "git.autofetch": false,
  "git.openRepositoryInParentFolders": "never",
  "security.workspace.trust.startupPrompt": "never"
}"""
CHROMIUM = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


class Workbench:
    """An installation of code-server; `environ` is the environment of its extensions."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        if not (INSTALLED / ".ready").exists():
            raise AssertionError("there is no workbench to test in: make workbench")
        self._folder = folder
        self._environ = environ | {"EXTENSIONS_GALLERY": '{"serviceUrl":""}'}
        (folder / "data/User").mkdir(parents=True)
        (folder / "config.yaml").write_text("{}")
        (folder / "data/User/settings.json").write_text(SETTINGS)

    def install(self, extension: Path) -> None:
        """Install a .vsix."""
        done = subprocess.run(
            [*self._command(), "--install-extension", str(extension)],
            env=self._environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "successfully installed" in done.stdout, done.stdout + done.stderr

    @contextlib.contextmanager
    def serving(self, *, trusting: bool = True) -> Iterator[str]:
        """Serve the workbench, which may trust all folders, and yield its address."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        quiet = "--disable-telemetry --disable-update-check".split()
        if trusting:
            quiet.append("--disable-workspace-trust")
        with (self._folder / "log").open("w") as log:
            process = subprocess.Popen(
                [
                    *self._command(),
                    *("--auth", "none", "--bind-addr", address),
                    *quiet,
                    *("--disable-getting-started-override", "--ignore-last-opened"),
                ],
                env=self._environ,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
            try:
                _wait_for(address)
                yield f"http://{address}"
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(30)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)  # hosts of extensions may outlive it

    def set(self, **settings: str) -> None:
        """Change machine settings, also of open windows."""
        file = self._folder / "data/Machine/settings.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps({f"para.{k.replace('_', '.')}": v for k, v in settings.items()}))

    def _command(self) -> list[str]:
        node = shutil.which("node")
        assert node is not None
        return [
            *(node, str(CODE_SERVER), "--config", str(self._folder / "config.yaml")),
            *("--user-data-dir", str(self._folder / "data")),
            *("--extensions-dir", str(self._folder / "extensions")),
        ]


def _wait_for(address: str) -> None:
    host, port = address.split(":")
    deadline = time.monotonic() + PATIENCE / 1000
    while True:
        try:
            socket.create_connection((host, int(port))).close()
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, f"no response from {address}"
            time.sleep(0.1)
        else:
            return


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Start a browser."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=CHROMIUM, timeout=PATIENCE
        )
        yield started
        started.close()


class Window:
    """A window; its methods are actions of a user and assertions about what is visible."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.calls: list[str] = []  # URIs that extensions have opened
        page.on("websocket", lambda talk: talk.on("framereceived", self._record_frame))
        page.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)

    @classmethod
    def open(cls, chromium: Browser, address: str, place: Path, script: str = "") -> Window:
        """Open a folder or a workspace file in a new window; `script` runs first."""
        context = chromium.new_context(viewport={"width": 1280, "height": 800})
        page = context.new_page()
        page.add_init_script(script)
        window = cls(page)
        page.goto(f"{address}/?{'folder' if place.is_dir() else 'workspace'}={place}")
        page.wait_for_selector(".monaco-workbench")
        return window

    def _record_frame(self, frame: bytes | str) -> None:
        text = frame if isinstance(frame, str) else frame.decode(errors="replace")
        if "vscode.openFolder" in text:
            self.calls.append(text)

    @property
    def bar(self) -> Locator:
        """The status bar item."""
        return self.page.locator('.statusbar-item[id="para.para.para"]')

    def wait_for_bar(self, text: str) -> None:
        """Wait until the status bar item has a text."""
        expect(self.bar).to_contain_text(text)

    def wait_for_bar_severity(self, severity: str | None) -> None:
        """Wait until the status bar item has the color of a warning, an error, or none."""
        no_colour = r"^(?!.*(warning|error)-kind)"
        expect(self.bar).to_have_class(re.compile(f"{severity}-kind" if severity else no_colour))

    def command(self, title: str) -> None:
        """Run a command of the palette; retry if the palette loses the focus."""
        for patience in (5000, 5000, PATIENCE):
            try:
                self.page.keyboard.press("F1")
                self.field.fill(f">{title}", timeout=patience)
                self.row(title).click(timeout=patience)
            except PlaywrightTimeout:
                if patience == PATIENCE:
                    raise
                self.page.keyboard.press("Escape")  # the palette reads its commands when it opens
            else:
                return

    def has_command(self, title: str) -> bool:
        """Return whether the palette has a command."""
        self.page.keyboard.press("F1")
        self.field.fill(f">{title}")
        self.page.locator(".quick-input-list").wait_for()
        self.page.wait_for_timeout(500)
        exists = self.row(title).count() > 0
        self.page.keyboard.press("Escape")
        return exists

    @property
    def field(self) -> Locator:
        """The field of the palette, of pickers and of questions."""
        return self.page.locator(".quick-input-widget:visible input.input")

    def row(self, text: str) -> Locator:
        """A row of the palette or a picker."""
        return self.page.locator(".quick-input-list .monaco-list-row", has_text=text).first

    def answer(self, question: str, text: str | None = None) -> None:
        """Answer a question; without a text accept the default."""
        widget = self.page.locator(".quick-input-widget:visible")
        expect(widget).to_contain_text(question)
        if text is not None:
            self.field.fill(text)
        self.field.press("Enter")

    def choose(self, text: str) -> None:
        """Choose a row of a picker."""
        self.row(text).click()

    def notice(self, text: str) -> Locator:
        """A visible notification."""
        return self.page.locator(".notifications-toasts .notification-list-item", has_text=text)

    def press(self, text: str, button: str | re.Pattern[str]) -> None:
        """Press a button of a notification, also of a hidden one."""
        self.command("Notifications: Show Notifications")
        centre = self.page.locator(".notifications-center .notification-list-item", has_text=text)
        centre.first.hover()
        element = centre.first.get_by_role("button", name=button, exact=isinstance(button, str))
        element.click()

    def dismiss(self) -> None:
        """Dismiss all notifications."""
        self.command("Notifications: Clear All Notifications")

    def view(self) -> None:
        """Open the view of sessions."""
        self.page.get_by_role("tab", name="Para").first.click()
        self.page.get_by_text("Sessions", exact=False).first.wait_for()

    def sessions(self) -> Locator:
        """The sessions in the view."""
        return self.page.locator('[role="treeitem"][aria-label^="para/"]')

    def pause(self) -> bool:
        """Let the browser process its events."""
        self.page.wait_for_timeout(100)
        return True

    def wait_for_first_state(self, state: str) -> None:
        """Wait until the first session in the view is in a state."""
        label = re.compile(rf", {state}, ")
        expect(self.sessions().first).to_have_attribute("aria-label", label)

    def save_pictures(self, name: str, again: Callable[[], object] = lambda: None) -> None:
        """Save two pictures of the window for the docs, dark and light.

        What goes away when another command is run, `again` brings back.
        """
        PICTURES.mkdir(parents=True, exist_ok=True)
        self.page.mouse.move(640, 500)
        for theme, other in (("dark", ".monaco-workbench.vs"), ("light", ".vs-dark")):
            self.page.screenshot(path=PICTURES / f"{name}-{theme}.png", animations="disabled")
            self.command("Preferences: Toggle between Light/Dark Themes")
            self.page.locator(other).first.wait_for()
            again()

    def save_failure(self, name: str) -> None:
        """Save a picture of the window, unless it is closed."""
        if self.page.is_closed():
            return
        FAILURES.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=FAILURES / f"{name}.png")


class Switch:
    """A socket between para and the engine that can be closed, as if the engine were stopped.

    `delay` is how long, in seconds, each part of the conversation takes on its way.
    """

    def __init__(self, path: Path | None, engine: str) -> None:
        self.address = f"unix://{path}"  # without a path, a port of this machine
        self.delay = 0.0
        self._path, self._engine = path, engine.removeprefix("unix://")
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self.on()

    def on(self) -> None:
        """Listen."""
        if self._path is None:
            self._listener = socket.create_server(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        else:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(self._path))
        self._listener.listen(64)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def off(self) -> None:
        """Stop listening and close all connections."""
        assert self._listener is not None
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        if self._path is not None:
            self._path.unlink()
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                engine = socket.socket(socket.AF_UNIX)
                engine.connect(self._engine)
                self._open |= {client, engine}
                for source, target in ((client, engine), (engine, client)):
                    threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while part := source.recv(65536):
                time.sleep(self.delay)
                target.sendall(part)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
        self._open.discard(source)


def without_para(environ: dict[str, str]) -> dict[str, str]:
    """Return an environment without para-server on its PATH."""
    folders = environ["PATH"].split(os.pathsep)
    kept = [f for f in folders if not (Path(f) / "para-server").exists()]
    return {**environ, "PATH": os.pathsep.join(kept)}


def create_attaching_extension(path: Path) -> Path:
    """Create an extension that declares, like Dev Containers, that it attaches to containers.

    The real one is for other builds of VS Code only; it is never run here.
    """
    described = {
        "name": "remote-containers",
        "publisher": "ms-vscode-remote",
        "version": "0.0.1",
        "engines": {"vscode": "^1.100.0"},
        "activationEvents": ["onResolveRemoteAuthority:attached-container"],
        "main": "./main.js",
    }
    manifest = (
        '<?xml version="1.0"?><PackageManifest Version="2.0.0" '
        'xmlns="http://schemas.microsoft.com/developer/vsx-schema/2011"><Metadata>'
        '<Identity Language="en-US" Id="remote-containers" Version="0.0.1" '
        'Publisher="ms-vscode-remote"/></Metadata><Installation>'
        '<InstallationTarget Id="Microsoft.VisualStudio.Code"/></Installation><Assets>'
        '<Asset Type="Microsoft.VisualStudio.Code.Manifest" Path="extension/package.json"/>'
        "</Assets></PackageManifest>"
    )
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("extension.vsixmanifest", manifest)
        made.writestr("extension/package.json", json.dumps(described))
        made.writestr("extension/main.js", "exports.activate = () => {};")
    return path
