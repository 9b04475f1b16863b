"""List branches that a session can start from: `para.branches`."""

from __future__ import annotations

from para_server.context import Context
from para_server.core.params import RepoParams
from para_server.core.results import BranchesResult
from para_server.git import repository
from para_server.registry import command
from para_server.sessions import lookup


@command("para.branches", "List Branches")
async def branches(context: Context, params: RepoParams) -> BranchesResult:
    """List the branches that a session can start from.

    The branch with the latest commit is first; at most 10,000 branches or 4 MiB are listed.
    """
    repo = await lookup.find_repo(context, params.repo)
    return BranchesResult(branches=await repository.list_branches(repo))
