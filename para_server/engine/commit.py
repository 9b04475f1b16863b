"""Save a container as an image."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

from para_server.engine.client import SLOW_FACTOR, Engine
from para_server.engine.exec_command import Stopper

if TYPE_CHECKING:
    from docker import APIClient

_TOO_DEEP: Final = "max depth exceeded"  # the engine's error for more than about 125 layers


async def save_as_image(engine: Engine, container: str, image: str, labels: dict[str, str]) -> None:
    """Save a container as an image with these labels.

    Each save adds a layer. An image with too many layers is flattened into one.
    """
    repository, _, tag = image.partition(":")

    def request(_: APIClient) -> None:
        from docker.errors import APIError

        # a container can have written gigabytes, so the usual timeout is too short
        timeout = engine.settings.timeout * SLOW_FACTOR
        with closing(engine.connect(timeout)) as api, Stopper().closing(api):
            try:
                api.commit(
                    container, repository, tag, pause=True, changes=_label_instructions(labels)
                )
            except APIError as error:
                if _TOO_DEEP not in str(error.explanation):
                    raise
                _save_flattened(api, container, image, labels)

    await engine.call_long_running(request)


def _save_flattened(api: APIClient, container: str, image: str, labels: dict[str, str]) -> None:
    repository, _, tag = image.partition(":")
    config = api.inspect_container(container)["Config"]
    content: Any = api.export(container)
    api.import_image(
        content, repository, tag, changes=_config_instructions(config, labels), stream_src=True
    )


def _config_instructions(config: dict[str, Any], labels: dict[str, str]) -> list[str]:
    """Return the instructions that restore a configuration, which an export doesn't include."""
    instructions = [f"ENV {name}={_quote(value)}" for name, value in _environment(config)]
    instructions += _label_instructions(labels)
    if config.get("Volumes"):
        instructions.append(f"VOLUME {json.dumps(sorted(config['Volumes']))}")
    if config.get("User"):
        instructions.append(f"USER {config['User']}")
    if config.get("WorkingDir"):
        instructions.append(f"WORKDIR {config['WorkingDir']}")
    return instructions


def _label_instructions(labels: dict[str, str]) -> list[str]:
    """Return labels as instructions: Podman 4 ignores the configuration of a commit."""
    return [f"LABEL {name}={_quote(value)}" for name, value in labels.items()]


def _environment(config: dict[str, Any]) -> list[tuple[str, str]]:
    pairs = [entry.partition("=") for entry in config.get("Env") or ()]
    return [(name, value) for name, _, value in pairs]


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'.replace("\n", " ")
