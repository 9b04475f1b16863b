"""The only place that makes images for people: `para.image.build`."""

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
    """Build the image that sessions run in, para-base:latest; with `agent`, that agent's.

    An agent's image, para-agent-NAME:latest, is a layer on para-base:latest, which must be there.
    An agent that has none of its own runs in para-base:latest.
    What did not change is taken from the engine's cache, unless `noCache` says otherwise.
    """
    settings = context.settings(None)
    image = BASE_IMAGE
    if params.agent is not None:
        image = image_for_agent(find_profile(params.agent, settings.agent).name)
    begun = time.monotonic()
    made = await image_build.build_image(
        context.engine,
        await find_recipe(context, image),
        container_spec.find_ca_bundle(settings.container, context.environ),
        context.report,
        no_cache=params.no_cache,
    )
    seconds = round(time.monotonic() - begun, 1)
    return BuildResult(image=image, id=made.id, size=made.size, seconds=seconds)
