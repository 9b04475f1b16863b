"""Where it is measured: a scratch home, repositories of any size, a server, an engine."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from tests import client, engine, scratch
from tests.client import Para
from tests.scratch import Repository

IMAGE, NETWORK = "para-base:latest", "bridge"
_PER_FOLDER = 50  # files


@dataclass
class Place:
    """A scratch folder with all that is needed; `numbers` gives names that were not used yet."""

    folder: Path
    environ: dict[str, str]
    api: Any
    numbers: Iterator[int]

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def name(self) -> str:
        return f"bench-{os.getpid()}-{next(self.numbers)}"

    def repo(self, files: int) -> Repository:
        """Give a repository of so many files; it is made once."""
        path = self.folder / f"repo-{files}"
        if path.is_dir():
            return Repository(path)
        repo = scratch.make(path)
        told = ["commit refs/heads/main\ncommitter Ada <ada@example.org> 0 +0000\ndata 0\n"]
        told.append("from refs/heads/main^0\n")
        for number in range(files - 2):
            name = f"src/part{number // _PER_FOLDER}/file{number}.txt"
            text = f"{number}\n" * 40
            told.append(f"M 644 inline {name}\ndata {len(text)}\n{text}\n")
        subprocess.run(
            ["git", "fast-import", "--quiet"], cwd=path, input="".join(told).encode(), check=True
        )
        repo.git("reset", "-q", "--hard")
        return repo

    @asynccontextmanager
    async def server(self, *, home: Path | None = None) -> AsyncIterator[Para]:
        """Start a server of its own."""
        environ = self.environ | ({"PARA_HOME": str(home)} if home else {})
        para = await client.connect(environ, [])
        try:
            yield para
        finally:
            await client.disconnect(para)


@contextmanager
def place() -> Iterator[Place]:
    """Make a place to measure in, and leave nothing of it."""
    if shutil.which("docker") is None:
        raise SystemExit("The benchmark compares with the docker command line: install docker-cli")
    api = engine.connect()
    with tempfile.TemporaryDirectory(prefix="para-bench-") as temporary:
        folder = Path(temporary)
        environ = {k: v for k, v in os.environ.items() if not k.startswith("PARA_")} | {
            "PARA_HOME": str(folder / "home"),
            "PARA_CONFIG_HOME": str(folder / "config"),
            "PARA_AGENT_NAME": "command",
            "PARA_CONTAINER_MAX_RUNNING": "1000",  # others may be at work on this engine
            "PARA_CONTAINER_IMAGE": IMAGE,
        }
        made = Place(folder, environ, api, count())
        try:
            yield made
        finally:
            engine.clear(api, made.home)
            api.close()


async def run(*argv: str, cwd: Path | None = None, quiet: bool = True) -> str:
    """Run a program to its good end and give what it printed."""
    process = await asyncio.create_subprocess_exec(
        *argv, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, said = await process.communicate()
    if process.returncode and quiet:
        raise SystemExit(f"{argv[0]} failed: {said.decode(errors='replace').strip()[-2000:]}")
    return out.decode(errors="replace")
