"""Prepare the process (module path, signals, standard streams) and start para.

Before that, only modules that Python loads at every start are imported. The scripts in `bin/` also
enable UTF-8 mode.
"""

import os
import sys

_STREAMS = 3


def server() -> None:
    """Serve editors: the console script `para-server`, and `python -m para_server`."""
    _prepare()
    from para_server import composition

    composition.server()


def para() -> None:
    """Run one command: the console script `para`."""
    _prepare()
    from para_server import composition

    composition.para()


def _prepare() -> None:
    if os.name != "posix":
        sys.exit("para does not run on Windows: install it in WSL 2, with Docker Desktop")
    _drop_foreign_modules()
    _restore_interrupt()
    _open_streams()


def _drop_foreign_modules() -> None:
    """Remove PYTHONPATH and the current folder from the module path, unless para is there.

    A project's folder named `docker` or `logging` would otherwise be imported.
    """
    own = _absolute(f"{__file__}/../..")
    prefixes = tuple({f"{one}{os.sep}lib" for one in (sys.prefix, sys.base_prefix)})
    named = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    foreign = {_absolute(part) for part in ("", *named)}
    sys.path[:] = [
        place
        for place in sys.path
        if place == own or place.startswith(prefixes) or _absolute(place) not in foreign
    ]


def _absolute(path: str) -> str:
    try:
        return os.path.abspath(path)  # noqa: PTH100 # pathlib is not loaded
    except FileNotFoundError:  # the current folder was removed
        return path


def _restore_interrupt() -> None:
    """Make Ctrl-C end the process without a traceback until a command starts."""
    import signal  # after the module path is clean

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _open_streams() -> None:
    """Open closed standard streams, so that no other file gets their descriptors."""
    for number in range(_STREAMS):
        try:
            os.fstat(number)
        except OSError:
            # read-only: a write fails, as with a closed stream
            os.open(os.devnull, os.O_RDONLY)
            if number == 1:
                sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 # it has no path
            elif number > 1:
                sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 # it has no path


if __name__ == "__main__":
    server()
