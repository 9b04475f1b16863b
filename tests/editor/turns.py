"""A para-server that forwards all messages to the real one, and logs when each side sends.

Run it without packages: `python -IS turns.py NOTES SERVER [ARGUMENT…]`.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

CLIENT, SERVER = "client", "server"
NOTIFICATION = "para/sessionsChanged"


def main() -> int:
    """Run the server; each log line has the time, the sender and whether it sent a notification."""
    notes, *command = sys.argv[1:]
    with (
        Path(notes).open("a", buffering=1) as log,
        open(0, "rb", buffering=0) as stdin,
        open(1, "wb", buffering=0) as stdout,
    ):
        started = time.time()
        server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        log.write(f"{started} {CLIENT}\n")

        def forward(sender: str, source: IO[bytes], sink: IO[bytes]) -> None:
            while chunk := source.read(1 << 16):
                mark = f" {NOTIFICATION}" if NOTIFICATION.encode() in chunk else ""
                log.write(f"{time.time()} {sender}{mark}\n")
                sink.write(chunk)
            sink.close()

        assert server.stdin is not None
        assert server.stdout is not None
        threading.Thread(target=forward, args=(CLIENT, stdin, server.stdin), daemon=True).start()
        forward(SERVER, server.stdout, stdout)
        return server.wait()


def server_milliseconds(notes: str) -> float:
    """Return the server's time in milliseconds, from its start to its first notification."""
    taken, last = 0.0, 0.0
    for line in notes.splitlines():
        at, sender, *notified = line.split()
        if sender == SERVER:
            taken += float(at) - last
        last = float(at)
        if notified:
            return taken * 1000
    raise AssertionError(f"the server sent no notification:\n{notes}")


if __name__ == "__main__":
    sys.exit(main())
