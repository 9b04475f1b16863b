"""Create the context and run the server or a command: the composition root."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from para_server import __version__
from para_server.core.untrusted import printable
from para_server.host import logs, standard_streams
from para_server.host.paths import expand_home, is_utf8

if TYPE_CHECKING:  # each face imports what it needs, when it needs it
    from para_server.context import Context

# pydantic would search all installed packages for plugins: 10 ms of each start
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
_LOOPBACK: Final = "127.0.0.1"
_HIGHEST_PORT: Final = 65535


def server() -> None:
    """Serve editors: the console script `para-server`."""
    options = _parse_options(sys.argv[1:])
    logs.log_to_stderr()
    _watch_children_by_pidfd()
    with ExitStack() as stack:

        @cache
        def context() -> Context:
            return stack.enter_context(_open_context(os.environ))

        code = _serve(context, options)
    sys.exit(code)


def para() -> None:
    """Run one command: the console script `para`."""
    from para_server.cli import overview

    argv = overview.expand_help(sys.argv[1:])
    text = overview.get_quick_answer(argv)
    if text is not None:
        sys.exit(1 if standard_streams.write(sys.stdout, text) else 0)
    gc.disable()  # modules are never garbage: collecting took a sixth of the start
    logs.log_to_stderr(for_person=True)
    _watch_children_by_pidfd()
    from para_server.cli.main import main

    gc.freeze()
    gc.enable()
    with _open_context(os.environ) as context:
        code = main(argv, context)
    if standard_streams.flush_all() and code == 0:
        code = 1
    gc.freeze()  # the interpreter would search everything at exit
    sys.exit(code)


def _serve(context: Callable[[], Context], options: argparse.Namespace) -> int:
    from para_server.lsp import stdio

    if not (options.tcp or options.ws):
        return stdio.run_until_signal(stdio.serve_stdio(context))
    from para_server.lsp import admission, ports

    serve = ports.serve_tcp if options.tcp else ports.serve_ws
    host, port = options.tcp or options.ws
    try:
        token = admission.read_or_create_token(options.token_file)
        return stdio.run_until_signal(serve(context, host, port, token))
    except (admission.TokenFileError, ports.CannotListenError) as error:
        sys.stderr.write(f"para-server: {error}\n")
        return 1


@contextmanager
def _open_context(environ: Mapping[str, str]) -> Iterator[Context]:
    from para_server.context import Context
    from para_server.engine.client import create_engines
    from para_server.store import Store

    connections = create_engines(environ)
    try:
        yield Context(
            store=Store(_choose_folder(environ, "PARA_HOME")),
            config_home=_choose_folder(environ, "PARA_CONFIG_HOME"),
            engine_of=connections,
            environ=environ,
            cwd=_cwd(),
        )
    finally:
        connections.close()


def _watch_children_by_pidfd() -> None:
    """Make asyncio wait for child processes in its loop, not in a thread for each."""
    if sys.version_info >= (3, 12):
        return  # it is the default there
    import asyncio

    with suppress(OSError, AttributeError):  # the system has no pidfd
        os.close(os.pidfd_open(os.getpid()))
        asyncio.set_child_watcher(asyncio.PidfdChildWatcher())


def _choose_folder(environ: Mapping[str, str], variable: str) -> Path:
    """Return the real path of PARA_HOME or PARA_CONFIG_HOME, or of its default."""
    try:
        place = expand_home(environ.get(variable, "")) or _default_folder(variable)
    except ValueError as error:
        raise _no_folder_error(variable, str(error)) from None
    if not is_utf8(place):
        raise _no_folder_error(variable, "the path is not UTF-8")
    return Path(os.path.realpath(place))


def _default_folder(variable: str) -> str:
    import platformdirs

    default = (
        platformdirs.user_state_dir if variable == "PARA_HOME" else platformdirs.user_config_dir
    )
    try:
        place = default("para")
    except RuntimeError:
        raise ValueError("HOME is not set") from None
    if not Path(place).is_absolute():
        raise ValueError("HOME is not set")
    return place


def _no_folder_error(variable: str, reason: str) -> SystemExit:
    standard_streams.write(sys.stderr, f"para: no folder for {variable}: {printable(reason)}\n")
    standard_streams.write(sys.stderr, "Set HOME, or PARA_HOME and PARA_CONFIG_HOME\n")
    return SystemExit(2)


def _cwd() -> Path | None:
    try:
        return Path.cwd()
    except FileNotFoundError:  # the folder was removed
        return None


def _parse_options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "para-server", description="Serve editors over stdio, TCP or WebSocket."
    )
    parser.add_argument("--version", action="version", version=f"para-server {__version__}")
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--stdio", action="store_true", help="use stdio (default)")
    either.add_argument("--tcp", type=_parse_address, metavar="HOST:PORT", help="use TCP")
    either.add_argument("--ws", type=_parse_address, metavar="HOST:PORT", help="use WebSocket")
    parser.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="file with the token that clients must send (created if missing)",
    )
    options = parser.parse_args(argv)
    if (options.tcp or options.ws) and options.token_file is None:
        parser.error("--tcp and --ws require --token-file FILE")
    if options.token_file is not None and not (options.tcp or options.ws):
        parser.error("--token-file requires --tcp or --ws")
    return options


def _parse_address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > _HIGHEST_PORT:
        raise argparse.ArgumentTypeError(f"{text} is not HOST:PORT")
    return host.strip("[]") or _LOOPBACK, int(port)
