"""Run containers for logins: to log in, and to query a login for a short time."""

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
    """Create a login container; one of the same name must have been removed before."""
    spec = container_spec.login_container(
        name,
        agent,
        image=image,
        home=context.store.home,
        mounts=mounts or [],
        ca_bundle=container_spec.find_ca_bundle(settings.container, context.environ),
        # a browser's callback needs the host's network, which userns-remap does not allow
        network="bridge" if (await inspect_engine(context.engine)).remapped else "host",
    )
    await containers.create(context.engine, spec)


def login_environment(context: Context, settings: Settings) -> dict[str, str]:
    """Return the variables that a login needs, which must not be stored in its image."""
    ca_bundle = container_spec.find_ca_bundle(settings.container, context.environ)
    return container_spec.container_environment(
        settings.container, ca_bundle, context.engine.session_proxies
    )


@asynccontextmanager
async def short_lived_container(
    context: Context, settings: Settings, agent: str, image: str, mounts: list[Mount]
) -> AsyncIterator[str]:
    """Run a container with a login, in its image or in mounts; yields its name."""
    name = f"{login_name(agent, context.store.home)}.{secrets.token_hex(4)}"
    async with rollback_on_failure() as rollback:
        rollback.push_async_callback(containers.remove, context.engine, name)
        if mounts:  # their files have the ids of sessions
            image = await fit_image(context, image, name)
        await create_container(context, settings, agent, name, image, mounts)
        await containers.start(context.engine, name)
        yield name
        await containers.remove(context.engine, name)


async def fit_image(context: Context, image: str, name: str) -> str:
    """Return an image with this user's ids, under the lock of the helper `name`."""
    # locked, because reconciling removes helpers of unlocked owners
    async with context.store.locked_session(name):
        return await file_ownership.fit_image(context, image, name)


async def query_login(
    context: Context, name: str, agent: str, environment: dict[str, str]
) -> LoginReport:
    """Return whether a container has a login and whether the agent's API accepts it."""
    _, output = await exec_command.execute(
        context.engine, name, logins.report_command(agent), environment=environment, workdir="/"
    )
    return logins.parse_report(output)
