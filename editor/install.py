"""Install para-server into a folder, once, also if several windows do it; print each step.

usage: install.py HOME WHEEL …

HOME/bin becomes a link to a working environment, or does not change.
"""

# ruff: noqa: INP001 # a program in the extension package, not a module
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

# pip settings of the user that reach an index; the others are for other installations
INDEX_OPTIONS = {
    *("index-url", "extra-index-url", "no-index", "find-links", "trusted-host"),
    *("proxy", "cert", "client-cert", "keyring-provider", "timeout", "default-timeout", "retries"),
    *("cache-dir", "no-cache-dir", "use-feature"),
}
SECTIONS = ("global", "install", ":env:")  # a later one overrides
SETTING_LINE = re.compile(r"(?P<section>global|install|:env:)\.(?P<key>[\w-]+)=(?P<value>.*)")
VERSION_TIMEOUT = 60  # seconds for `para-server --version`


def main(home: Path, wheels: list[str]) -> None:
    """Install the server unless it works; the system releases the lock with the process."""
    home.mkdir(parents=True, exist_ok=True)
    with (home.parent / f".{home.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print_step("Waiting for the installation in another window…")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if is_working(home):
            return
        environment = home / secrets.token_hex(4)
        try:
            install(environment, wheels)
            switch_to(environment, home)
        except BaseException:
            shutil.rmtree(environment, ignore_errors=True)
            raise
        for old in home.iterdir():
            if old.name not in {"bin", environment.name}:
                remove_path(old)


def install(environment: Path, wheels: list[str]) -> None:
    """Create an environment with the wheels, and test the server."""
    print_step("Creating an environment for the server…")
    environ = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environ.pop("VIRTUAL_ENV", None)
    clean = {key: value for key, value in environ.items() if not key.startswith("PIP_")}
    run_program([sys.executable, "-I", "-m", "venv", str(environment)], clean)
    print_step("Installing the server and its dependencies…")
    pip = [str(environment / "bin/python"), "-I", "-m", "pip"]
    flags = ["--quiet", "--disable-pip-version-check", "--no-input"]
    config = subprocess.run(
        [*pip, "config", "list"], env=environ, capture_output=True, text=True, check=False
    )
    # this file name stops pip from reading any configuration file
    pip_environ = clean | read_index_options(config.stdout) | {"PIP_CONFIG_FILE": os.devnull}
    # without -I, which would make pip ignore the variables
    run_program(
        [str(environment / "bin/python"), "-m", "pip", "install", *flags, *wheels], pip_environ
    )
    if not is_working(environment):
        raise SystemExit(f"{environment / 'bin/para-server'} does not run")


def read_index_options(config: str) -> dict[str, str]:
    """Return the index options in the output of `pip config list`, as variables for pip."""
    options: dict[str, dict[str, str]] = {section: {} for section in SECTIONS}
    for line in config.splitlines():
        setting = SETTING_LINE.fullmatch(line)
        if setting and setting["key"] in INDEX_OPTIONS:
            options[setting["section"]][setting["key"]] = str(ast.literal_eval(setting["value"]))
    merged = {key: value for section in SECTIONS for key, value in options[section].items()}
    return {f"PIP_{key.upper().replace('-', '_')}": value for key, value in merged.items()}


def switch_to(environment: Path, home: Path) -> None:
    """Replace HOME/bin atomically by a link to an environment."""
    programs = home / "bin"
    if programs.is_dir() and not programs.is_symlink():
        shutil.rmtree(programs)  # of a version without links
    link = home / f"{environment.name}.link"
    link.symlink_to(f"{environment.name}/bin")
    link.replace(programs)


def remove_path(old: Path) -> None:
    """Remove a file or a folder, ignoring errors in folders."""
    if old.is_dir() and not old.is_symlink():
        shutil.rmtree(old, ignore_errors=True)
    else:
        old.unlink(missing_ok=True)


def is_working(home: Path) -> bool:
    """Return whether the server exists and runs; its Python may have been removed."""
    try:
        result = subprocess.run(
            [home / "bin/para-server", "--version"],
            capture_output=True,
            timeout=VERSION_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return result.returncode == 0


def run_program(command: list[str], environ: dict[str, str]) -> None:
    """Run a program that stops with this one; if it fails, exit with its output."""
    with subprocess.Popen(
        command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            output, _ = process.communicate()
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        raise SystemExit(output.strip() or f"{command[0]} failed")


def print_step(message: str) -> None:
    """Print a line for the progress notification."""
    sys.stdout.write(f"{message}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    main(Path(sys.argv[1]), sys.argv[2:])
