"""The only place that makes images for people: `para.image.build`."""

from __future__ import annotations

import os
import time

from para_server import spec
from para_server.agents.profiles import profile
from para_server.context import Context
from para_server.engine import images
from para_server.errors import ParaError
from para_server.git.clone import AGENT_UID
from para_server.names import BASE_IMAGE
from para_server.params import BuildParams
from para_server.registry import command
from para_server.results import BuildResult


@command("para.image.build", "Build Image")
async def build(context: Context, params: BuildParams) -> BuildResult:
    """Build the image that sessions run in, para-base:latest.

    What did not change is taken from the engine's cache, unless `noCache` says otherwise.
    """
    every = context.settings(None)
    if params.agent is not None:
        profile(params.agent, every.agent)
    settings = every.container
    begun = time.monotonic()
    await images.build(
        context.engine,
        BASE_IMAGE,
        build_args(),
        spec.ca_bundle_of(settings, context.environ),
        context.report,
        no_cache=params.no_cache,
    )
    made = await images.find(context.engine, BASE_IMAGE)
    if made is None:
        raise ParaError("engine.build-failed", f"{BASE_IMAGE} is not there after its build")
    return BuildResult(
        image=BASE_IMAGE, id=made.id, size=made.size, seconds=round(time.monotonic() - begun, 1)
    )


def build_args() -> dict[str, str]:
    """Give the user `para` the host user's ids, so that files belong to the same person."""
    if os.geteuid() == 0:
        return {"UID": str(AGENT_UID), "GID": str(AGENT_UID)}
    return {"UID": str(os.geteuid()), "GID": str(os.getegid())}
