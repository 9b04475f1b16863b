"""A para-server that forwards all messages to the real one, and logs when each side sends.

It runs by itself: `python -IS turns.py NOTES SERVER [ARGUMENT…]`.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

CLIENT, SERVER = "client", "server"
TOLD = "para/sessionsChanged"


def main() -> int:
    """Run the server; each log line has the time, the sender and whether it sent a notification."""
    notes, *command = sys.argv[1:]
    with (
        Path(notes).open("a", buffering=1) as into,
        open(0, "rb", buffering=0) as ours,
        open(1, "wb", buffering=0) as theirs,
    ):
        begun = time.time()
        server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        into.write(f"{begun} {CLIENT}\n")

        def hand_on(who: str, source: IO[bytes], sink: IO[bytes]) -> None:
            while said := source.read(1 << 16):
                into.write(f"{time.time()} {who}{f' {TOLD}' * (TOLD.encode() in said)}\n")
                sink.write(said)
            sink.close()

        assert server.stdin is not None
        assert server.stdout is not None
        threading.Thread(target=hand_on, args=(CLIENT, ours, server.stdin), daemon=True).start()
        hand_on(SERVER, server.stdout, theirs)
        return server.wait()


def of_server(notes: str) -> float:
    """Return the server's time in milliseconds, from its start to its first notification."""
    taken, last = 0.0, 0.0
    for line in notes.splitlines():
        at, who, *told = line.split()
        if who == SERVER:
            taken += float(at) - last
        last = float(at)
        if told:
            return taken * 1000
    raise AssertionError(f"the server told nothing of sessions:\n{notes}")


if __name__ == "__main__":
    sys.exit(main())
