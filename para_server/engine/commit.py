"""The only place that knows how a container is saved as an image."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

from para_server.engine.client import SLOW_FACTOR, Engine
from para_server.engine.exec_command import Stopper

if TYPE_CHECKING:
    from docker import APIClient

_TOO_DEEP: Final = "max depth exceeded"  # what the engine says of a layer too many (about 125)


async def save_as_image(engine: Engine, container: str, image: str, labels: dict[str, str]) -> None:
    """Save what a container has become as an image that is its session's alone.

    Every save adds a layer; where there are too many, the image becomes one layer again.
    """
    repository, _, tag = image.partition(":")

    def ask(_: APIClient) -> None:
        from docker.errors import APIError

        # what a container has written may be much: the usual time for an answer is too short
        patience = engine.settings.timeout * SLOW_FACTOR
        with closing(engine.connect(patience)) as api, Stopper().closing(api):
            try:
                api.commit(
                    container, repository, tag, pause=True, changes=_label_instructions(labels)
                )
            except APIError as error:
                if _TOO_DEEP not in str(error.explanation):
                    raise
                _save_flattened(api, container, image, labels)

    await engine.call_slowly(ask)


def _save_flattened(api: APIClient, container: str, image: str, labels: dict[str, str]) -> None:
    repository, _, tag = image.partition(":")
    config = api.inspect_container(container)["Config"]
    content: Any = api.export(container)
    api.import_image(
        content, repository, tag, changes=_config_instructions(config, labels), stream_src=True
    )


def _config_instructions(config: dict[str, Any], labels: dict[str, str]) -> list[str]:
    """Say again what an image of files alone does not know."""
    said = [f"ENV {name}={_quote(value)}" for name, value in _environment(config)]
    said += _label_instructions(labels)
    if config.get("Volumes"):
        said.append(f"VOLUME {json.dumps(sorted(config['Volumes']))}")
    if config.get("User"):
        said.append(f"USER {config['User']}")
    if config.get("WorkingDir"):
        said.append(f"WORKDIR {config['WorkingDir']}")
    return said


def _label_instructions(labels: dict[str, str]) -> list[str]:
    """Write labels as instructions: Podman 4 takes no configuration with a commit."""
    return [f"LABEL {name}={_quote(value)}" for name, value in labels.items()]


def _environment(config: dict[str, Any]) -> list[tuple[str, str]]:
    pairs = [entry.partition("=") for entry in config.get("Env") or ()]
    return [(name, value) for name, _, value in pairs]


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'.replace("\n", " ")
