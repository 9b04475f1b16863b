"""Build the images that sessions run in: `para.image.build`."""

from __future__ import annotations

import time

from para_server.agents.profiles import find_profile
from para_server.context import Context
from para_server.core import container_spec
from para_server.core.names import (
    BASE_IMAGE,
)
from para_server.core.params import BuildParams
from para_server.core.results import BuildResult
from para_server.engine import image_build
from para_server.registry import command
from para_server.sessions.recipes import find_recipe, image_for_agent


@command("para.image.build", "Build Image")
async def build(context: Context, params: BuildParams) -> BuildResult:
    """Build the image that sessions run in, or the image of an agent.

    Without `agent` it is para-base:latest. The image of an agent, para-agent-NAME:latest, is based
    on para-base:latest, which must exist; an agent without its own image uses para-base:latest.
    Unchanged layers come from the engine's cache, unless `noCache` is set.
    """
    settings = context.settings(None)
    image = BASE_IMAGE
    if params.agent is not None:
        image = image_for_agent(find_profile(params.agent, settings.agent).name)
    started = time.monotonic()
    image_info = await image_build.build_image(
        context.engine,
        await find_recipe(context, image),
        container_spec.find_ca_bundle(settings.container, context.environ),
        context.report,
        no_cache=params.no_cache,
    )
    seconds = round(time.monotonic() - started, 1)
    return BuildResult(image=image, id=image_info.id, size=image_info.size, seconds=seconds)
