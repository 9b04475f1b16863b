"""What it costs to have a session: against a person's commands, and what else starts containers."""

from __future__ import annotations

from functools import partial

from tests.bench.measure import Figure, compared, timed
from tests.bench.place import IMAGE, NETWORK, Place
from tests.bench.rivals import Floor, devcontainer, recipe
from tests.client import Para
from tests.scratch import Repository

FEW, SOME, MANY = 200, 5_000, 50_000


async def dispatched(place: Place, para: Para, repo: Repository) -> float:
    """Time a dispatch, from the request to the answer: the container runs, and the agent in it."""
    name = place.name()
    params = {"name": name, "repo": str(repo.path), "network": NETWORK, "image": IMAGE}
    try:
        async with timed() as watch:
            session = await para.call("para.dispatch", prompt="sleep 600", **params)
        assert session["state"] == "running", session
        return watch.taken
    finally:
        await para.call("para.cancel", name=name, repo=str(repo.path))


async def figures(place: Place, pairs: int) -> list[Figure]:
    """Measure dispatches in repositories of three sizes."""
    found = []
    few, many = place.repo(FEW), place.repo(MANY)
    async with place.server() as para:
        model = await para.call("para.start", name="model", repo=str(few.path))
        floor = Floor(place, model)
        limits = {FEW: 0.9, SOME: 0.9, MANY: 0.1}
        for files, most in limits.items():
            repo = place.repo(files)
            figure = Figure(f"dispatch, {files:,} files", "git worktree add, docker run", most)
            found.append(
                await compared(
                    figure,
                    pairs,
                    partial(dispatched, place, para, repo),
                    partial(recipe, place, repo),
                )
            )
        found += [
            await compared(
                Figure(f"dispatch, {FEW} files", "create + start, nothing else", 1.6),
                pairs,
                partial(dispatched, place, para, few),
                floor.measured,
            ),
            await compared(
                Figure(f"dispatch, {MANY:,} files", f"dispatch, {FEW} files", 1.25),
                pairs,
                partial(dispatched, place, para, many),
                partial(dispatched, place, para, few),
            ),
            await compared(
                Figure(f"dispatch, {MANY:,} files", "devcontainer up", 0.4),
                pairs,
                partial(dispatched, place, para, many),
                partial(devcontainer, place, many),
            ),
        ]
        await para.call("para.cancel", name="model", repo=str(few.path))
    return found
