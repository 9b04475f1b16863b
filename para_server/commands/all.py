"""Import all command modules, which register their commands."""

from para_server.commands import (
    auth,
    branches,
    cancel,
    clean,
    dispatch,
    doctor,
    finish,
    image,
    inspect,
    pause,
    send,
    stats,
)

__all__ = [
    "auth",
    "branches",
    "cancel",
    "clean",
    "dispatch",
    "doctor",
    "finish",
    "image",
    "inspect",
    "pause",
    "send",
    "stats",
]
