"""The only place that knows which errors para has, and how each is told to a client.

An expected failure is a `ParaError` with a slug of the table below.
Anything else that is raised is a bug and is told as one.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import AfterValidator

from para_server.core.model import Model
from para_server.core.untrusted import safe_message

INVALID_PARAMS: Final = -32602
REQUEST_FAILED: Final = -32803
REQUEST_CANCELLED: Final = -32800
SERVER_CANCELLED: Final = -32802
INTERNAL_ERROR: Final = -32603

# slug -> (JSON-RPC code, what it means)
SLUGS: Final[dict[str, tuple[int, str]]] = {
    "command.unknown": (INVALID_PARAMS, "There is no such command"),
    "command.invalid-params": (
        INVALID_PARAMS,
        "The params of a command do not fit; `issues` says which",
    ),
    "settings.invalid": (
        INVALID_PARAMS,
        "A setting has a wrong value, or may not be set where it is",
    ),
    "engine.unreachable": (REQUEST_FAILED, "No container engine answers"),
    "engine.permission-denied": (
        REQUEST_FAILED,
        "The engine's socket may not be used by this user",
    ),
    "engine.timeout": (REQUEST_FAILED, "The engine did not answer in time"),
    "engine.image-missing": (REQUEST_FAILED, "The image that the session needs does not exist"),
    "engine.build-failed": (REQUEST_FAILED, "An image could not be built"),
    "engine.refused": (REQUEST_FAILED, "The engine answered with an error"),
    "workspace.not-a-repository": (INVALID_PARAMS, "The folder is not in a git repository"),
    "workspace.no-commits": (REQUEST_FAILED, "The repository has no commit to start from"),
    "workspace.unknown-base": (INVALID_PARAMS, "The base is no revision of the repository"),
    "workspace.branch-exists": (REQUEST_FAILED, "The branch exists already, or cannot be moved"),
    "workspace.nothing-to-finish": (REQUEST_FAILED, "The session has changed nothing"),
    "workspace.ambiguous": (INVALID_PARAMS, "It cannot be told which repository is meant"),
    "workspace.git-failed": (REQUEST_FAILED, "A git command failed"),
    "session.not-found": (INVALID_PARAMS, "There is no such session"),
    "session.ambiguous": (INVALID_PARAMS, "It cannot be told which session is meant"),
    "session.name-taken": (REQUEST_FAILED, "A live session of the repository has this name"),
    "session.limit-reached": (REQUEST_FAILED, "As many session containers exist as may"),
    "session.wrong-type": (REQUEST_FAILED, "The command does not apply to this type of session"),
    "session.illegal-transition": (
        REQUEST_FAILED,
        "The command does not apply to a session in this state",
    ),
    "agent.unknown": (INVALID_PARAMS, "There is no such agent"),
    "auth.missing": (REQUEST_FAILED, "The agent has no login"),
    "auth.incomplete": (REQUEST_FAILED, "The login was not completed"),
    "store.unreadable": (REQUEST_FAILED, "para's own files cannot be read or written"),
    "store.too-new": (REQUEST_FAILED, "para's own files were written by a newer para"),
}


# text for people, whatever it was made of
SafeText = Annotated[str, AfterValidator(safe_message)]


class Remedy(Model):
    """One thing that a person can do about a problem, as it stands."""

    title: SafeText
    command: str | None = None
    params: dict[str, Any] | None = None
    setting: str | None = None
    url: str | None = None


class Issue(Model):
    """One field of the params or of the settings that does not fit."""

    path: SafeText
    message: SafeText


class Problem(Model):
    """What clients are told of a failure."""

    slug: str
    message: SafeText
    remedies: tuple[Remedy, ...] = ()
    issues: tuple[Issue, ...] | None = None


class ParaError(Exception):
    """An expected failure; `code` is the one that JSON-RPC gives it."""

    def __init__(
        self, slug: str, message: str, *remedies: Remedy, issues: list[Issue] | None = None
    ) -> None:
        self.code = SLUGS[slug][0]
        self.problem = Problem(
            slug=slug,
            message=message.rstrip(". \n"),
            remedies=remedies,
            issues=tuple(issues) if issues else None,
        )
        super().__init__(self.problem.message)

    @property
    def slug(self) -> str:
        """Name the kind of failure."""
        return self.problem.slug


CHECK_SETUP: Final = Remedy(title="Check setup", command="para.doctor", params={})
SHOW_SESSIONS: Final = Remedy(title="Show sessions", command="para.list", params={})
DISABLE_CONTAINERS: Final = Remedy(
    title="Set this to false to work without containers", setting="container.enabled"
)
