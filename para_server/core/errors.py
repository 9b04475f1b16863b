"""Define the errors of para and how a client gets them.

An expected failure is a `ParaError` with a slug of the table below.
Any other exception is a bug, and is reported as an internal error.
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

# slug -> (JSON-RPC code, meaning)
SLUGS: Final[dict[str, tuple[int, str]]] = {
    "command.unknown": (INVALID_PARAMS, "The command does not exist"),
    "command.invalid-params": (
        INVALID_PARAMS,
        "A parameter of a command is invalid; `issues` lists each",
    ),
    "settings.invalid": (
        INVALID_PARAMS,
        "A setting is unknown, has an invalid value, or is not permitted where it is set",
    ),
    "engine.unreachable": (REQUEST_FAILED, "No container engine responds"),
    "engine.permission-denied": (
        REQUEST_FAILED,
        "This user is not permitted to use the engine's socket",
    ),
    "engine.timeout": (REQUEST_FAILED, "The engine did not respond in time"),
    "engine.image-missing": (REQUEST_FAILED, "The image of the session does not exist"),
    "engine.build-failed": (REQUEST_FAILED, "The build of an image failed"),
    "engine.refused": (
        REQUEST_FAILED,
        "The engine returned an error, or cannot do what para needs",
    ),
    "engine.disk-full": (REQUEST_FAILED, "The disk of the engine is full"),
    "workspace.not-a-repository": (INVALID_PARAMS, "The folder is not in a git repository"),
    "workspace.no-commits": (REQUEST_FAILED, "The repository has no commit to start from"),
    "workspace.unknown-base": (INVALID_PARAMS, "The base is not a revision of the repository"),
    "workspace.branch-exists": (REQUEST_FAILED, "The branch already exists, or cannot be moved"),
    "workspace.nothing-to-finish": (REQUEST_FAILED, "The session has no changes"),
    "workspace.ambiguous": (INVALID_PARAMS, "More than one repository matches"),
    "workspace.git-failed": (REQUEST_FAILED, "A git command failed"),
    "workspace.too-large": (REQUEST_FAILED, "The work of the session exceeds git.maxBundle"),
    "workspace.timeout": (REQUEST_FAILED, "Extracting the work took longer than git.maxSeconds"),
    "session.not-found": (INVALID_PARAMS, "The session does not exist"),
    "session.ambiguous": (INVALID_PARAMS, "More than one session matches"),
    "session.name-taken": (REQUEST_FAILED, "An active session of the repository has this name"),
    "session.limit-reached": (REQUEST_FAILED, "The container limit is reached"),
    "session.wrong-type": (REQUEST_FAILED, "The command does not apply to this type of session"),
    "session.illegal-transition": (
        REQUEST_FAILED,
        "The command does not apply to the state of the session, or the session is busy",
    ),
    "session.busy": (REQUEST_FAILED, "Another command is running on the session"),
    "session.setup-failed": (REQUEST_FAILED, "The set-up script of the session failed"),
    "session.stopped": (REQUEST_FAILED, "The container of the session has stopped or is gone"),
    "agent.not-started": (REQUEST_FAILED, "The agent could not be started in its container"),
    "agent.unknown": (INVALID_PARAMS, "The agent does not exist"),
    "auth.missing": (REQUEST_FAILED, "The agent has no login"),
    "auth.incomplete": (REQUEST_FAILED, "The login was not completed"),
    "store.unreadable": (REQUEST_FAILED, "para's own files cannot be read or written"),
    "store.too-new": (REQUEST_FAILED, "para's own files were written by a newer version of para"),
}


# text for people, without control characters and of limited length
SafeText = Annotated[str, AfterValidator(safe_message)]


class Remedy(Model):
    """One action that solves a problem, complete enough to be run as it is."""

    title: SafeText
    command: str | None = None
    params: dict[str, Any] | None = None
    setting: str | None = None
    url: str | None = None


class Issue(Model):
    """One invalid field of the params or of the settings."""

    path: SafeText
    message: SafeText


class Problem(Model):
    """A failure as clients get it."""

    slug: str
    message: SafeText
    remedies: tuple[Remedy, ...] = ()
    issues: tuple[Issue, ...] | None = None


class ParaError(Exception):
    """An expected failure; `code` is its JSON-RPC error code."""

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
        """Return the identifier of the error."""
        return self.problem.slug


CHECK_SETUP: Final = Remedy(title="Check setup", command="para.doctor", params={})
SHOW_SESSIONS: Final = Remedy(title="Show sessions", command="para.list", params={})
DISABLE_CONTAINERS: Final = Remedy(
    title="Set this to false to work without containers", setting="container.enabled"
)
