"""Define the context of a command: what it gets beside its params."""

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
    """Ignore a progress report."""


class CacheEntry(NamedTuple):
    """A session as it was last assembled, and the inputs that it was assembled from."""

    inputs: tuple[object, ...]
    session: Session


@dataclass(frozen=True)
class Context:
    """The store, the caller's folders and settings, and connections to engines.

    `report` reports progress to a person: a line, and a percentage if one is known.
    `session_cache` contains the sessions that this process has assembled, by id.
    `engine_of` returns this process's connection to an engine, which connects when first used.
    `editor` are an editor's settings, and `folder_settings` those of single folders.
    `trusted` are the folders that a person trusts in an editor.
    """

    store: Store
    config_home: Path
    engine_of: Callable[[EngineSettings], Engine]
    environ: Mapping[str, str]
    report: Report = ignore_progress
    folders: tuple[Path, ...] = ()
    cwd: Path | None = None
    editor: Mapping[str, Any] = field(default_factory=dict)
    folder_settings: tuple[tuple[Path, Mapping[str, Any]], ...] = ()
    trusted: tuple[Path, ...] = ()
    session_cache: dict[str, CacheEntry] = field(default_factory=dict)

    def settings(self, repo: Path | None, own: Mapping[str, Any] | None = None) -> Settings:
        """Return the settings for a repository; `own` are those in the command's params."""
        trusted = repo is not None and self.trusts(repo)
        layers = read_layers(
            self.config_home, repo, self.environ, self._editor(repo), trusted=trusted, command=own
        )
        return merge_layers(layers)

    def repository_chose_image(
        self, repo: Path, settings: Settings, own: Mapping[str, Any]
    ) -> bool:
        """Return whether an untrusted repository chose the image of these settings."""
        if not settings.container.image or self.trusts(repo):
            return False
        return not self.settings(None, own).container.image

    def _editor(self, repo: Path | None) -> Mapping[str, Any]:
        """Return the editor's settings for a repository: of its folder, or of one around it."""
        if repo is None or not self.folder_settings:
            return self.editor
        real = repo.resolve()
        own = [one for one in self.folder_settings if find_repository(one[0]) == real]
        around = [one for one in self.folder_settings if real.is_relative_to(one[0].resolve())]
        if own:
            return min(own, key=lambda one: len(one[0].parts))[1]
        return max(around, key=lambda one: len(one[0].parts))[1] if around else self.editor

    def trusts(self, repo: Path) -> bool:
        """Return whether a trusted folder is in a repository, and not in a nested one."""
        return any(find_repository(folder) == repo.resolve() for folder in self.trusted)

    @cached_property
    def engine(self) -> Engine:
        """Return the engine of the settings, in which a repository has no influence."""
        return self.engine_of(self.settings(None).engine)


def find_repository(folder: Path) -> Path | None:
    """Return the top folder of the repository around a folder; does not run git."""
    try:
        real = folder.resolve()
        return next((one for one in (real, *real.parents) if os.path.lexists(one / ".git")), None)
    except (OSError, ValueError, RuntimeError):
        return None


def parse_path(location: str) -> Path:
    """Return the path of an absolute path or a file:// URI."""
    if location.startswith("file://"):
        return Path(unquote(urlparse(location).path, errors="surrogateescape"))
    with suppress(ValueError):
        return Path(expand_home(location))
    return Path(location)
