"""The only place that knows how a container is saved as an image."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

from para_server.engine.client import SLOW, Engine
from para_server.engine.exec_command import Stopper

if TYPE_CHECKING:
    from docker import APIClient

_TOO_DEEP: Final = "max depth exceeded"  # what the engine says of a layer too many (about 125)


async def save(engine: Engine, container: str, image: str, labels: dict[str, str]) -> None:
    """Save what a container has become as an image that is its session's alone.

    Every save adds a layer; where there are too many, the image becomes one layer again.
    """
    repository, _, tag = image.partition(":")

    def ask(_: APIClient) -> None:
        from docker.errors import APIError

        # what a container has written may be much: the usual time for an answer is too short
        patience = engine.settings.timeout * SLOW
        with closing(engine.connect(patience)) as api, Stopper().closing(api):
            try:
                api.commit(container, repository, tag, pause=True, changes=_marks(labels))
            except APIError as error:
                if _TOO_DEEP not in str(error.explanation):
                    raise
                _flatten(api, container, image, labels)

    await engine.call_slowly(ask)


def _flatten(api: APIClient, container: str, image: str, labels: dict[str, str]) -> None:
    repository, _, tag = image.partition(":")
    config = api.inspect_container(container)["Config"]
    content: Any = api.export(container)
    api.import_image(content, repository, tag, changes=_changes(config, labels), stream_src=True)


def _changes(config: dict[str, Any], labels: dict[str, str]) -> list[str]:
    """Say again what an image of files alone does not know."""
    said = [f"ENV {name}={_word(value)}" for name, value in _variables(config)]
    said += _marks(labels)
    if config.get("Volumes"):
        said.append(f"VOLUME {json.dumps(sorted(config['Volumes']))}")
    if config.get("User"):
        said.append(f"USER {config['User']}")
    if config.get("WorkingDir"):
        said.append(f"WORKDIR {config['WorkingDir']}")
    return said


def _marks(labels: dict[str, str]) -> list[str]:
    """Write labels as instructions: Podman 4 takes no configuration with a commit."""
    return [f"LABEL {name}={_word(value)}" for name, value in labels.items()]


def _variables(config: dict[str, Any]) -> list[tuple[str, str]]:
    pairs = [entry.partition("=") for entry in config.get("Env") or ()]
    return [(name, value) for name, _, value in pairs]


def _word(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'.replace("\n", " ")
