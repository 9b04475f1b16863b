"""Run the containers of logins: one in which a person logs in, and short-lived ones that ask."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from para_server.agents import logins
from para_server.agents.logins import LoginReport
from para_server.concurrency.cancellation import rollback_on_failure
from para_server.context import Context
from para_server.core import container_spec
from para_server.core.container_spec import Mount
from para_server.core.names import login_name
from para_server.core.settings import Settings
from para_server.engine import containers, exec_command
from para_server.engine.engine_info import inspect_engine
from para_server.sessions import file_ownership


async def create_container(
    context: Context,
    settings: Settings,
    agent: str,
    name: str,
    image: str,
    mounts: list[Mount] | None = None,
) -> None:
    """Create a container of a login, where another one of its name was removed."""
    wanted = container_spec.login_container(
        name,
        agent,
        image=image,
        home=context.store.home,
        mounts=mounts or [],
        ca_bundle=container_spec.find_ca_bundle(settings.container, context.environ),
        # on the host's a browser's callback finds it, which userns-remap does not allow
        network="bridge" if (await inspect_engine(context.engine)).remapped else "host",
    )
    await containers.create(context.engine, wanted)


def login_environment(context: Context, settings: Settings) -> dict[str, str]:
    """Return the variables that a login needs, which may not end in its image."""
    ca_bundle = container_spec.find_ca_bundle(settings.container, context.environ)
    return container_spec.container_environment(
        settings.container, ca_bundle, context.engine.session_proxies
    )


@asynccontextmanager
async def short_lived_container(
    context: Context, settings: Settings, agent: str, image: str, mounts: list[Mount]
) -> AsyncIterator[str]:
    """Run a container from an image, or with a volume, that holds a login."""
    name = f"{login_name(agent, context.store.home)}.{secrets.token_hex(4)}"
    async with rollback_on_failure() as rollback:
        rollback.push_async_callback(containers.remove, context.engine, name)
        if mounts:  # what lies in them has the ids that sessions have
            image = await fit_image(context, image, name)
        await create_container(context, settings, agent, name, image, mounts)
        await containers.start(context.engine, name)
        yield name
        await containers.remove(context.engine, name)


async def fit_image(context: Context, image: str, name: str) -> str:
    """Return the image that fits this user, held as a helper's."""
    # a helper whose holder is gone is removed
    async with context.store.locked_session(name):
        return await file_ownership.fit_image(context, image, name)


async def query_login(
    context: Context, name: str, agent: str, environment: dict[str, str]
) -> LoginReport:
    """Ask in a container whether there is a login, and what the agent's API makes of it."""
    _, output = await exec_command.execute(
        context.engine, name, logins.report_command(agent), environment=environment, workdir="/"
    )
    return logins.parse_report(output)
