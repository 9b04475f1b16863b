"""The main job, before your eyes: sessions at work in containers, and branches; run by `make demo`.

All of it goes through a real server process, over JSON-RPC. REPO names your own repository, and
PROMPT a shell command to be run in it; without them there is a scratch repository, and two tasks.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import logging
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.live import Live
from rich.rule import Rule
from rich.table import Table
from rich.terminal_theme import MONOKAI
from rich.text import Text

from para_server.core.errors import ParaError
from para_server.core.untrusted import one_line
from tests import client, engine, scratch
from tests.client import Failed, Para
from tests.scratch import Repository

WIDTH = 100  # of a recording, and of what is written into a file
STYLES = {
    "running": "green",
    "paused": "cyan",
    "finished": "bold blue",
    "cancelled": "yellow",
    "failed": "bold red",
    "working": "yellow",
    "done": "green",
}

CODE = """\
echo 'writing slug.mjs'
cat >slug.mjs <<'END'
export const slug = (title) =>
  title.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");
END
sleep 1
cat >slug.test.mjs <<'END'
import assert from "node:assert/strict";
import test from "node:test";
import { slug } from "./slug.mjs";

test("words are joined by dashes", () => assert.equal(slug("Hello, World!"), "hello-world"));
test("no dash is left at the ends", () => assert.equal(slug("  (draft)  "), "draft"));
END
sleep 1
node --test --test-reporter=tap >/tmp/tap || { cat /tmp/tap; exit 1; }
sleep 1
echo "node --test: $(sed -n 's/^# pass //p' /tmp/tap) tests pass"
"""

# stopped in the midst, it goes on with the page that is missing
PAGES = """\
mkdir -p docs
for page in install usage settings questions; do
  [ -e "docs/$page.md" ] && continue
  printf '# %s\\n\\nTo be written.\\n' "$page" >"docs/$page.md"
  echo "- [$page](docs/$page.md)" >>README.md
  git add docs README.md && git commit -q -m "Begin docs/$page.md"
  echo "committed docs/$page.md"
  sleep 0.7
done
echo "$(ls docs | wc -l) pages, $(git rev-list --count --grep='Begin docs' HEAD) commits"
"""


@dataclass
class Task:
    """What one session is for, and what is known of it."""

    name: str | None
    about: str
    prompt: str
    message: str
    session: dict[str, Any] = field(default_factory=dict)
    news: str = ""  # better to know than what it is about
    rest: str = ""  # the same while it is paused
    shown: str = ""  # the line that was printed last, where no table can stand

    def row(self) -> tuple[str, str, str, str, str]:
        session = self.session
        agent = (session.get("agent") or {}).get("state", "")
        if session.get("state") in {"paused", "finished"}:
            agent = ""
        name = session.get("name") or self.name or "…"
        state, branch = session.get("state", "preparing"), session.get("branch", "")
        news = self.rest if state == "paused" else self.news
        return name, state, agent, branch, news or self.about

    @property
    def begun(self) -> bool:
        agent = self.session.get("agent") or {}
        return agent.get("state") != "starting"

    @property
    def at_work(self) -> bool:
        agent = self.session.get("agent") or {}
        return agent.get("state") in {"starting", "working", "waiting"}


class Stage:
    """What is seen: a table that follows the notifications, and lines above it that stay."""

    def __init__(self, tasks: list[Task], console: Console, recorder: Console) -> None:
        self.tasks, self.consoles = tasks, (console, recorder)
        self.progress: dict[str, list[Any]] = {}
        self.caption = ""
        self.live: set[str] = set()
        self._began = time.monotonic()
        self._changed = asyncio.Event()

    def __rich__(self) -> RenderableType:
        table = Table(
            expand=True,
            box=SIMPLE_HEAD,
            border_style="dim",
            caption=self.caption,
            caption_justify="right",
        )
        for title, ratio in {"session": 2, "state": 2, "agent": 2, "branch": 3, "now": 6}.items():
            table.add_column(title, ratio=ratio, no_wrap=True, overflow="ellipsis")
        for number, task in enumerate(self.tasks):
            name, state, agent, branch, news = task.row()
            if state == "preparing" and (said := self.progress.get(str(number))):
                news = getattr(said[-1], "message", None) or news
            table.add_row(
                Text(name, "bold"),
                Text(state, STYLES.get(state, "")),
                Text(agent, STYLES.get(agent, "")),
                Text(branch, "magenta"),
                Text(news),
            )
        return table

    def say(self, text: str, style: str = "") -> None:
        """Tell a step that was taken."""
        seconds = time.monotonic() - self._began
        for console in self.consoles:
            console.print(Text.assemble((f"{seconds:5.1f} s  ", "dim"), (text, style)))

    def print(self, *shown: RenderableType) -> None:
        for console in self.consoles:
            console.print(*shown)

    def record(self) -> None:
        """Put the table as it is now into the recording."""
        self.consoles[1].print(self)

    def update(self, change: dict[str, Any]) -> None:
        """Take what the server tells: all sessions that live."""
        for task in self.tasks:
            if task.session.get("state") in {"finished", "cancelled"}:
                continue  # what is over is in no notification; this one is older
            for session in change["sessions"]:
                if session["prompt"] == task.prompt:
                    task.session = session
        self.live = {session["id"] for session in change["sessions"]}
        self.caption = f"{change['running']} of {change['limit']} containers exist"
        self.stir()

    def stir(self) -> None:
        if not self.consoles[0].is_terminal:
            for task in self.tasks:
                line = "  ".join(part for part in task.row() if part)
                if task.session and line != task.shown:
                    task.shown = line
                    self.consoles[0].print(Text(f"         {line}"))
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, met: Callable[[], bool]) -> None:
        while not met():
            await self._changed.wait()

    async def follow(self, para: Para) -> None:
        """Show each notification when it comes."""
        while True:
            await para._stirred.wait()
            para._stirred.clear()
            self.update(para.changes[-1])


class Demo:
    """One run: its folder, its repository, what it started, and what is to be left of it."""

    def __init__(self, folder: Path, repo: Path | None, prompt: str | None) -> None:
        self.folder, self.home = folder, folder / "para"
        self.own = repo is not None
        self.environ = dict(os.environ) | {"PARA_HOME": str(self.home)}
        if repo is None:
            # the machine's own git configuration may want signatures, or hooks
            os.environ["GIT_CONFIG_GLOBAL"] = self.environ["GIT_CONFIG_GLOBAL"] = os.devnull
            self.environ["PARA_CONFIG_HOME"] = str(folder / "config")
            self.repo = scratch.make(folder / "shop")
        else:
            self.repo = Repository(repo)
        # in a repository of yours the names are made up: these may be taken
        slugs, docs = ("slugs", "docs") if repo is None else (None, None)
        self.tasks = [
            Task(slugs, "writes slug.mjs and tests it", CODE, "Add slug"),
            Task(docs, "writes and commits four pages", PAGES, "Begin the pages"),
        ]
        if prompt is not None:
            self.tasks = [Task(None, one_line(prompt, 60), prompt, one_line(prompt, 60))]
        self.api = engine.connect()
        self.volumes: set[str] = set()
        self.well = True

    async def story(self, para: Para, stage: Stage) -> None:
        """Tell the main job from the first task to the last branch."""
        before = self.untouched()
        stage.say(f"para-server serves {self.repo.path}{'' if self.own else ', a scratch repo'}")
        await together(*(self.dispatch(para, stage, n) for n in range(len(self.tasks))))
        number = "Both sessions run, each" if len(self.tasks) > 1 else "The session runs,"
        stage.say(f"{number} with a container, a clone and a branch of its own", "bold")
        await stage.until(lambda: all(task.begun for task in self.tasks))
        self.note_volumes()
        stage.record()
        await self.pause_and_resume(para, stage, self.tasks[-1])
        await stage.until(lambda: not any(t.at_work for t in self.tasks))
        for task in self.tasks:
            text = (await para.call("para.logs", name=task.session["name"], tail=1))["text"]
            task.news = one_line(text) or task.news
        stage.stir()
        stage.say("The work is over")
        self.note_volumes()
        await together(*(self.finish(para, stage, task) for task in self.tasks))
        await stage.until(lambda: not stage.live.intersection(t.session["id"] for t in self.tasks))
        stage.record()
        if self.untouched() != before:
            raise SystemExit("HEAD or the work tree is not as it was")
        stage.say("Work tree and HEAD are as they were", "green")

    async def dispatch(self, para: Para, stage: Stage, number: int) -> None:
        task, token = self.tasks[number], str(number)
        stage.progress = para.lsp.progress_reports
        stage.progress[token] = []
        named = {"name": task.name} if task.name else {}
        # in a container, also where this user's settings say otherwise
        params = {"prompt": task.prompt, "type": "container", "agent": "command"} | named
        await para.answer(para.send("para.dispatch", [params], token))
        await stage.until(lambda: task.session.get("state") == "running")

    async def pause_and_resume(self, para: Para, stage: Stage, task: Task) -> None:
        # a command that is saved in the midst of its work is begun anew: not every one bears it
        mode = "freeze" if task.prompt != PAGES and task.at_work else "save"
        if mode == "save":
            await asyncio.sleep(1)
        name = task.session["name"]
        task.rest = "frozen: no CPU" if mode == "freeze" else "saved: no CPU, no memory, no slot"
        await para.call("para.pause", name=name, mode=mode)
        await stage.until(lambda: task.session["state"] == "paused")
        stage.say(f"{name} is paused", "cyan")
        await asyncio.sleep(0.5)
        stage.record()
        await para.call("para.resume", name=name)
        await stage.until(lambda: task.session["state"] == "running")
        stage.say(f"{name} is resumed, and goes on where it was", "green")

    async def finish(self, para: Para, stage: Stage, task: Task) -> None:
        name, agent = task.session["name"], task.session["agent"]
        if agent["state"] != "done":
            self.well = False
            stage.say(f"{name} went wrong: {agent['state']}, {agent['detail']}", "bold red")
            logs = (await para.call("para.logs", name=name, tail=20))["text"]
            stage.print(Text(logs, "dim"))
        try:
            done = await para.call("para.finish", name=name, message=task.message)
        except Failed as failed:
            if failed.slug != "workspace.nothing-to-finish":
                raise
            stage.say(f"{failed.message}, so there is no branch", "yellow")
            task.session = (await para.call("para.cancel", name=name))["session"]
            return
        task.session = done["session"]
        files = "1 file" if done["files"] == 1 else f"{done['files']} files"
        task.news = f"{files}, +{done['insertions']} -{done['deletions']}"
        stage.stir()
        if done["autoRunFiles"]:
            files = ", ".join(one_line(file) for file in done["autoRunFiles"])
            stage.say(f"Look at these before you open the branch: {files}", "yellow")

    def branches(self, stage: Stage) -> None:
        """Show what there is now that was not there before."""
        for task in self.tasks:
            if task.session.get("state") != "finished":
                continue
            base, branch = task.session["base"], task.session["branch"]
            commits = self.repo.git("rev-list", "--count", f"{base}..{branch}")
            some = "1 commit" if commits == "1" else f"{commits} commits"
            shown = Text.assemble((branch, "bold magenta"), (f"  {some}", "dim"))
            stage.print(Rule(shown, align="left", style="dim"))
            stat = self.repo.git(
                *("-c", "core.quotePath=false", "diff", "--no-ext-diff", "--stat=78,50,12"),
                *(f"{base}..{branch}", "--"),
            )
            stage.print(coloured(f" {stat}"))

    async def tidy(self, para: Para, stage: Stage) -> None:
        """End what still lives; its work is kept."""
        for session in (await para.call("para.list"))["sessions"]:
            named = {"name": session["name"], "repo": session["repo"]}
            try:
                archive = (await para.call("para.cancel", **named))["archive"]
            except Failed as failed:
                if failed.slug != "session.not-found":
                    raise
                continue  # it was half made, and the server has just undone it
            if archive and self.own:
                stage.say(f"The work of {session['name']} is kept: git log {archive}", "yellow")
        await para.call("para.clean")

    def untouched(self) -> object:
        """Tell how the repository is, to the extent that para may not change it."""
        if not self.own:
            return self.repo.fingerprint()
        asked = (["rev-parse", "HEAD"], ["symbolic-ref", "-q", "HEAD"], ["status", "--porcelain"])
        return [self.repo.git("--no-optional-locks", *ask, check=False) for ask in asked]

    def note_volumes(self) -> None:
        for one in engine.containers(self.api, self.home):
            mounts = one.get("Mounts") or []
            self.volumes |= {mount["Name"] for mount in mounts if mount["Type"] == "volume"}

    def sessions(self) -> list[str]:
        """List the sessions that there are records of; without any, nothing was begun."""
        found = [f"session {file.stem}" for file in (self.home / "sessions").glob("*.json")]
        if not found:
            shutil.rmtree(self.folder, ignore_errors=True)
        return found

    def leftovers(self) -> list[str]:
        """Look for anything of this run that is left."""
        found = [f"container {one['Names'][0]}" for one in engine.containers(self.api, self.home)]
        found += [f"image {name}" for name in engine.images(self.api, self.home)]
        volumes = {one["Name"] for one in self.api.volumes()["Volumes"] or []}
        found += [f"volume {name}" for name in volumes & self.volumes]
        ids = [task.session["id"] for task in self.tasks if task.session]
        found += [f"workspace {file}" for file in (self.home / "work").glob("*")]
        listed = self.repo.git("for-each-ref", "--format=%(refname)", "refs/para", check=False)
        for ref in listed.split():
            archived = ref.startswith("refs/para/archive/")  # kept on purpose
            if not archived and any(session in ref for session in ids):
                found.append(f"ref {ref}")
        if not found:  # otherwise the records are needed to get at the rest
            shutil.rmtree(self.folder, ignore_errors=True)
            found += [str(self.folder)] if self.folder.exists() else []
        return found


def coloured(stat: str) -> Text:
    """Colour the output of git diff --stat."""
    shown = Text(stat)
    shown.highlight_regex(r"(?m)\++(?=-*$)", "green")
    shown.highlight_regex(r"(?m)-+$", "red")
    return shown


async def together(*steps: Coroutine[Any, Any, None]) -> None:
    """Run steps side by side, and raise what the first of those that fail raises."""
    results = await asyncio.gather(*steps, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result


def problem(failed: Failed) -> Text:
    """Tell what went wrong, and what can be done about it."""
    told = Text.assemble(("It failed: ", "bold red"), failed.message, (f"  {failed.slug}", "dim"))
    for remedy in failed.remedies:
        how = remedy.get("command") or remedy.get("setting") or remedy.get("url") or ""
        told.append(f"\n  - {remedy['title']}{f': {how}' if how else ''}", "yellow")
    return told


async def watched(para: Para, story: Coroutine[Any, Any, None]) -> None:
    """Tell a story to its end, or to that of the server."""
    telling = asyncio.ensure_future(story)
    gone = asyncio.ensure_future(para.lsp._server.wait())
    try:
        await asyncio.wait({telling, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not telling.done():
            raise SystemExit("The server has ended")
        await telling
    finally:
        gone.cancel()
        telling.cancel()
        await asyncio.wait({telling})


def when_stopped(do: Callable[[], object]) -> None:
    """Say what Ctrl-C does from now on."""
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, do)


async def performed(demo: Demo, stage: Stage) -> int:
    """Do it all, and clean up whatever happens; gives the exit code."""
    code = 0
    live = Live(stage, console=stage.consoles[0], refresh_per_second=10)
    para: Para | None = None
    current = asyncio.current_task()
    assert current is not None
    when_stopped(current.cancel)
    try:
        para = await client.connect(demo.environ, [demo.repo.path])
        following = asyncio.ensure_future(stage.follow(para))
        if stage.consoles[0].is_terminal:
            live.start()
        try:
            await watched(para, demo.story(para, stage))
        finally:
            live.stop()
            following.cancel()
        demo.branches(stage)
    except Failed as failed:
        code = 1
        stage.print(problem(failed))
    except asyncio.CancelledError:
        code = 130
        stage.say("Stopped", "bold red")
    except (SystemExit, TimeoutError, AssertionError) as error:
        code = 1
        stage.say(str(error) or f"No answer for {client.DEADLINE:g} s", "bold red")
    finally:
        when_stopped(lambda: None)  # cleaning up is what was asked for
        code = await cleaned(demo, stage, para, well=not code) or code or int(not demo.well)
    return code


async def cleaned(demo: Demo, stage: Stage, para: Para | None, *, well: bool) -> int:
    """Clean up and look whether it is clean; gives the exit code."""
    try:
        if para is None or not well:  # it may have ended in the midst of a message
            if para is not None:
                with suppress(Exception):
                    await client.disconnect(para)
            para = await client.connect(demo.environ, [demo.repo.path])
        try:
            await demo.tidy(para, stage)
        finally:
            await client.disconnect(para)
        left = demo.leftovers()
    except Failed as failed:
        stage.print(problem(failed))
        left = demo.sessions()
    except Exception as error:  # noqa: BLE001 # the engine or the server went away
        stage.say(f"{type(error).__name__}: {one_line(str(error))}", "bold red")
        left = demo.sessions()
    demo.api.close()
    if left:
        stage.say("Not all is cleaned up: " + ", ".join(left), "bold red")
        para_of_it = f"PARA_HOME={demo.home} {Path(sys.executable).with_name('para')}"
        stage.say(f"It can be ended by hand: {para_of_it} list", "yellow")
        return 1
    kept = [t.session["branch"] for t in demo.tasks if t.session.get("state") == "finished"]
    branch = "" if demo.own else ", branch"
    stage.say(f"No container, image, volume, workspace{branch} or record is left", "green")
    if demo.own and kept:
        stage.say(f"The branches are yours: {', '.join(kept)}", "bold")
        stage.say(f"To be rid of them: git branch -D {' '.join(kept)}", "dim")
    return 0


def save(recorder: Console, file: Path) -> None:
    """Write the recording; it fetches no fonts, so that it shows wherever pictures do."""
    drawn = recorder.export_svg(title="make demo", theme=MONOKAI, unique_id="para-demo")
    file.write_text(re.sub(r"\s*@font-face \{.*?\n    \}", "", drawn, flags=re.DOTALL))


def main() -> None:
    parser = argparse.ArgumentParser("python -m tests.demo", description=__doc__)
    parser.add_argument("--svg", type=Path, metavar="FILE", help="save a picture of it")
    arguments = parser.parse_args()
    # an answer that comes after Ctrl-C is no news
    logging.getLogger("pygls").setLevel(logging.CRITICAL)
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    recorder = Console(record=True, width=WIDTH, file=io.StringIO(), highlight=False)
    given, prompt = os.environ.get("REPO"), os.environ.get("PROMPT")
    repo = Path(given).expanduser().resolve() if given else None
    if repo is not None and not repo.is_dir():
        raise SystemExit(f"There is no folder {repo}")
    folder = Path(tempfile.mkdtemp(prefix="para-demo-")).resolve()
    try:
        demo = Demo(folder, repo, prompt or None)
        code = asyncio.run(performed(demo, Stage(demo.tasks, console, recorder)))
    except ParaError as error:  # there is no engine, so nothing was begun
        shutil.rmtree(folder, ignore_errors=True)
        raise SystemExit(f"It failed: {error}") from None
    if arguments.svg and not code:
        save(recorder, arguments.svg)
    sys.exit(code)


if __name__ == "__main__":
    main()
