"""Install para-server into a folder of its own, once, whoever else is about to; prints each step.

usage: install.py HOME WHEEL …

HOME/bin becomes a link into an environment that works, or stays as it was.
"""

# ruff: noqa: INP001 # a program that the extension carries, not a module
from __future__ import annotations

import ast
import fcntl
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
from pathlib import Path

# what a person's pip settings say of the way to an index; all else is for other installations
ROADS = {
    *("index-url", "extra-index-url", "no-index", "find-links", "trusted-host"),
    *("proxy", "cert", "client-cert", "keyring-provider", "timeout", "default-timeout", "retries"),
    *("cache-dir", "no-cache-dir", "use-feature"),
}
SECTIONS = ("global", "install", ":env:")  # the later ones decide
SETTING = re.compile(r"(?P<section>global|install|:env:)\.(?P<key>[\w-]+)=(?P<value>.*)")
PATIENCE = 60  # seconds that a server may take to name its version


def main(home: Path, wheels: list[str]) -> None:
    """Install unless it is there; the lock is dropped with this process, however it ends."""
    home.mkdir(parents=True, exist_ok=True)
    with (home.parent / f".{home.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            step("waiting for another window that installs the server…")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if works(home):
            return
        made = home / secrets.token_hex(4)
        try:
            install(made, wheels)
            put(made, home)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
        for old in home.iterdir():
            if old.name not in {"bin", made.name}:
                remove(old)


def install(made: Path, wheels: list[str]) -> None:
    """Make an environment, and try what was put into it."""
    step("making a place for the server…")
    own = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    own.pop("VIRTUAL_ENV", None)
    bare = {key: value for key, value in own.items() if not key.startswith("PIP_")}
    run([sys.executable, "-I", "-m", "venv", str(made)], bare)
    step("installing the server and what it needs…")
    pip = [str(made / "bin/python"), "-I", "-m", "pip"]
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input"]
    listed = subprocess.run(
        [*pip, "config", "list"], env=own, capture_output=True, text=True, check=False
    )
    # the file of that name stands for all files of settings: none is read
    alone = bare | roads(listed.stdout) | {"PIP_CONFIG_FILE": os.devnull}
    # without -I, which pip would take to ignore what it is told by the environment
    run([str(made / "bin/python"), "-m", "pip", "install", *quiet, *wheels], alone)
    if not works(made):
        raise SystemExit(f"{made / 'bin/para-server'} does not run")


def roads(listed: str) -> dict[str, str]:
    """Read from `pip config list` how an index is reached, as variables for pip."""
    found: dict[str, dict[str, str]] = {section: {} for section in SECTIONS}
    for line in listed.splitlines():
        setting = SETTING.fullmatch(line)
        if setting and setting["key"] in ROADS:
            found[setting["section"]][setting["key"]] = str(ast.literal_eval(setting["value"]))
    merged = {key: value for section in SECTIONS for key, value in found[section].items()}
    return {f"PIP_{key.upper().replace('-', '_')}": value for key, value in merged.items()}


def put(made: Path, home: Path) -> None:
    """Let HOME/bin lead into an environment, at once and whole."""
    programs = home / "bin"
    if programs.is_dir() and not programs.is_symlink():
        shutil.rmtree(programs)  # of a version that knew no links
    link = home / f"{made.name}.link"
    link.symlink_to(f"{made.name}/bin")
    link.replace(programs)


def remove(old: Path) -> None:
    """Remove a file or a folder, as far as it can be."""
    if old.is_dir() and not old.is_symlink():
        shutil.rmtree(old, ignore_errors=True)
    else:
        old.unlink(missing_ok=True)


def works(home: Path) -> bool:
    """Return whether there is a server that runs: its Python may have gone away."""
    try:
        asked = subprocess.run(
            [home / "bin/para-server", "--version"],
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return asked.returncode == 0


def run(command: list[str], environ: dict[str, str]) -> None:
    """Run a program that ends with this one, and exit with what it says where it fails."""
    with subprocess.Popen(
        command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            said, _ = process.communicate()
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        raise SystemExit(said.strip() or f"{command[0]} failed")


def step(message: str) -> None:
    """Print what is being done."""
    sys.stdout.write(f"{message}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    main(Path(sys.argv[1]), sys.argv[2:])
