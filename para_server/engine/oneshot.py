"""Run one-shot containers, with a timeout, and remove them."""

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
    """Run a container, remove it and return its exit code, None after a timeout.

    Its output is what it writes into a mount. A cancellation kills it.
    """
    async with rollback_on_failure() as rollback:
        rollback.push_async_callback(containers.remove, engine, spec.name)
        code = await run_and_keep(engine, spec, seconds)
        await containers.remove(engine, spec.name)
    return code


async def run_and_keep(engine: Engine, spec: ContainerSpec, seconds: float) -> int | None:
    """Run a container and return its exit code, None after a timeout; the caller removes it."""
    await containers.create(engine, spec)
    await containers.start(engine, spec.name)
    return await engine.call_long_running(
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
        if "Read timed out" not in str(error):  # urllib3's timeout in the middle of a response
            raise
    # the engine may have missed that the container ended, or may not answer at all
    state = api.inspect_container(name)["State"]
    return None if state["Running"] else int(state["ExitCode"])


def _kill(engine: Engine, name: str) -> None:
    # runs on the event loop's thread while the pool's thread waits, so it needs its own connection
    api = engine.connect(5)
    try:
        api.remove_container(name, force=True)
    except Exception:  # noqa: BLE001, S110 # only to hurry: the rollback removes the container
        pass
    finally:
        api.close()
