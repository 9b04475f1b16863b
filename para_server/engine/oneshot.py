"""The only place that knows how a helper container is run: bounded, and always removed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from para_server.concurrency.cancellation import rollback_on_failure
from para_server.core.container_spec import ContainerSpec
from para_server.engine import containers
from para_server.engine.client import Engine

if TYPE_CHECKING:
    from docker import APIClient


async def run(engine: Engine, spec: ContainerSpec, seconds: float) -> int | None:
    """Run a container to its end, remove it and give its exit code; None where it took too long.

    What it has to say it writes into a mount. A cancellation kills it.
    """
    async with rollback_on_failure() as rollback:
        rollback.push_async_callback(containers.remove, engine, spec.name)
        code = await run_and_keep(engine, spec, seconds)
        await containers.remove(engine, spec.name)
    return code


async def run_and_keep(engine: Engine, spec: ContainerSpec, seconds: float) -> int | None:
    """Do the same for a caller that removes the container, however this ends."""
    await containers.create(engine, spec)
    await containers.start(engine, spec.name)
    return await engine.call_slowly(
        lambda api: _wait(api, spec.name, seconds), interrupt=lambda: _kill(engine, spec.name)
    )


def _wait(api: APIClient, name: str, seconds: float) -> int | None:
    from requests.exceptions import ConnectionError as Broken
    from requests.exceptions import ReadTimeout

    try:
        return int(api.wait(name, timeout=math.ceil(seconds))["StatusCode"])
    except ReadTimeout:
        pass
    except Broken as error:
        if "Read timed out" not in str(error):  # how urllib3 tells it in the midst of an answer
            raise
    # the engine may have failed to say that it ended, or does not answer at all
    state = api.inspect_container(name)["State"]
    return None if state["Running"] else int(state["ExitCode"])


def _kill(engine: Engine, name: str) -> None:
    # on the event loop's thread, while the pool's thread waits: hence a connection of its own
    api = engine.connect(5)
    try:
        api.remove_container(name, force=True)
    except Exception:  # noqa: BLE001, S110 # it only hurries; the undo removes it properly
        pass
    finally:
        api.close()
