"""The only place that knows what a command is given beside its params."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlparse

from para_server.core.settings import Settings
from para_server.host.paths import expand_home
from para_server.settings_sources import merge_layers, read_layers

if TYPE_CHECKING:
    from para_server.core.models import Session
    from para_server.core.settings import EngineSettings
    from para_server.engine.client import Engine
    from para_server.store import Store

Report = Callable[[str, int | None], None]


def ignore_progress(_message: str, _percentage: int | None = None) -> None:
    """Report to nobody."""


class CacheEntry(NamedTuple):
    """A session as it was last put together, and from what: the same is not put together again."""

    of: tuple[object, ...]
    session: Session


@dataclass(frozen=True)
class Context:
    """What a command is given: where para lives, who asks, and the edges that hold something.

    `report` tells a person how far the command is: a line, and a percentage where one is known.
    `shown` are the sessions that this process has put together, by their ids.
    `engine_of` gives the one connection of this process to an engine; it connects when first used.
    `trusted` are the folders that a person trusts, in an editor.
    """

    store: Store
    config_home: Path
    engine_of: Callable[[EngineSettings], Engine]
    environ: Mapping[str, str]
    report: Report = ignore_progress
    folders: tuple[Path, ...] = ()
    cwd: Path | None = None
    editor: Mapping[str, Any] = field(default_factory=dict)
    scoped: tuple[tuple[Path, Mapping[str, Any]], ...] = ()  # what it says of single folders
    trusted: tuple[Path, ...] = ()
    shown: dict[str, CacheEntry] = field(default_factory=dict)

    def settings(self, repo: Path | None, own: Mapping[str, Any] | None = None) -> Settings:
        """Resolve the settings for a repository; `own` is what the command's params say."""
        trusted = repo is not None and self.trusts(repo)
        layers = read_layers(
            self.config_home, repo, self.environ, self._editor(repo), trusted=trusted, command=own
        )
        return merge_layers(layers)

    def chose_image(self, repo: Path, settings: Settings, own: Mapping[str, Any]) -> bool:
        """Tell whether a repository that is not trusted chose the image of these settings."""
        if not settings.container.image or self.trusts(repo):
            return False
        return not self.settings(None, own).container.image

    def _editor(self, repo: Path | None) -> Mapping[str, Any]:
        """Choose what the editor says of a repository: of its folder, or of one that it is in."""
        if repo is None or not self.scoped:
            return self.editor
        real = repo.resolve()
        own = [one for one in self.scoped if find_repository(one[0]) == real]
        around = [one for one in self.scoped if real.is_relative_to(one[0].resolve())]
        if own:
            return min(own, key=lambda one: len(one[0].parts))[1]
        return max(around, key=lambda one: len(one[0].parts))[1] if around else self.editor

    def trusts(self, repo: Path) -> bool:
        """Tell whether a person trusts a repository: a trusted folder is in it, and in no other."""
        return any(find_repository(folder) == repo.resolve() for folder in self.trusted)

    @cached_property
    def engine(self) -> Engine:
        """Give the engine that the settings name; no repository has a say in that."""
        return self.engine_of(self.settings(None).engine)


def find_repository(folder: Path) -> Path | None:
    """Find the top of the repository that a folder is in, without git."""
    try:
        real = folder.resolve()
        return next((one for one in (real, *real.parents) if os.path.lexists(one / ".git")), None)
    except (OSError, ValueError, RuntimeError):
        return None


def parse_path(location: str) -> Path:
    """Read an absolute path or a file:// URI."""
    if location.startswith("file://"):
        return Path(unquote(urlparse(location).path, errors="surrogateescape"))
    with suppress(ValueError):
        return Path(expand_home(location))
    return Path(location)
