"""The only place that knows which modules hold commands; importing it fills the registry."""

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
