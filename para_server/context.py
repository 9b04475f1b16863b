"""The only place that knows what a command is given beside its params."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlparse

from para_server.layers import layers_of, resolve
from para_server.settings import Settings

if TYPE_CHECKING:
    from para_server.engine.client import Engine
    from para_server.models import Session
    from para_server.settings import EngineSettings
    from para_server.store import Store

Report = Callable[[str, int | None], None]


def silent(_message: str, _percentage: int | None = None) -> None:
    """Report to nobody."""


class Shown(NamedTuple):
    """A session as it was last put together, and from what: the same is not put together again."""

    of: tuple[object, ...]
    session: Session


@dataclass(frozen=True)
class Context:
    """What a command is given: where para lives, who asks, and the edges that hold something.

    `report` tells a person how far the command is: a line, and a percentage where one is known.
    `shown` are the sessions that this process has put together, by their ids.
    `engine_of` gives the one connection of this process to an engine; it connects when first used.
    """

    store: Store
    config_home: Path
    engine_of: Callable[[EngineSettings], Engine]
    environ: Mapping[str, str]
    report: Report = silent
    folders: tuple[Path, ...] = ()
    cwd: Path | None = None
    editor: Mapping[str, Any] = field(default_factory=dict)
    trusted: bool = False
    shown: dict[str, Shown] = field(default_factory=dict)

    def settings(self, repo: Path | None, own: Mapping[str, Any] | None = None) -> Settings:
        """Resolve the settings for a repository; `own` is what the command's params say."""
        layers = layers_of(self.config_home, repo, self.environ, self.editor, trusted=self.trusted)
        return resolve([*layers, ("the command", own or {})])

    @cached_property
    def engine(self) -> Engine:
        """Give the engine that the settings name; no repository has a say in that."""
        return self.engine_of(self.settings(None).engine)


def path_of(location: str) -> Path:
    """Read an absolute path or a file:// URI."""
    if location.startswith("file://"):
        return Path(unquote(urlparse(location).path))
    return Path(location).expanduser()
