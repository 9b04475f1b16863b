"""The only place that tells where a session can start from: `para.branches`."""

from __future__ import annotations

from para_server.commands import picking
from para_server.context import Context
from para_server.git import repository
from para_server.params import RepoParams
from para_server.registry import command
from para_server.results import BranchesResult


@command("para.branches", "List Branches")
async def branches(context: Context, params: RepoParams) -> BranchesResult:
    """List the branches to start a session from, latest commit first: at most 10,000, or 4 MiB."""
    repo = await picking.repo_of(context, params.repo)
    return BranchesResult(branches=await repository.branches(repo))
