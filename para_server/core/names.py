"""Define the names of sessions, containers, images, volumes, refs and labels."""

from __future__ import annotations

import hashlib
import re
import secrets
from pathlib import Path
from typing import Final

NAME_PATTERN: Final = r"^[a-zA-Z0-9][a-zA-Z0-9_-]{0,49}$"
NAME_RULE: Final = "a name is 1 to 50 of a-z A-Z 0-9 - _, and starts with a letter or a digit"
SESSION_PATTERN: Final = r"^[a-zA-Z0-9][a-zA-Z0-9_-]{0,56}$"  # a name, or an id made from one

# what git does not permit in a ref
_INVALID_REF: Final = re.compile(
    r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|(^|/)\.|\.lock(/|\Z)|^/|[/.]\Z"
)

LABEL_SESSION: Final = "dev.para.session"
LABEL_NAME: Final = "dev.para.name"
LABEL_REPO: Final = "dev.para.repo"
LABEL_HOME: Final = "dev.para.home"
LABEL_HELPER: Final = "dev.para.helper"  # the session of a one-shot container
LABEL_NETWORK: Final = "dev.para.network"
LABEL_INPUTS: Final = "dev.para.inputs"
LABEL_LOGIN: Final = "dev.para.login"  # the agent whose login a container, image or volume has
LABEL_LOGIN_DATE: Final = "dev.para.login.date"
LABEL_FITTED: Final = "dev.para.fitted"  # the id of the image that this one was adapted from
LABEL_PRIVATE: Final = "dev.para.private"  # contains credentials: never push it

CONTAINER_PREFIX: Final = "para-session-"
HELPER_PREFIX: Final = "para-helper-"
LOGIN_PREFIX: Final = "para-login-"
VOLUME_PREFIX: Final = "para-work-"
SESSION_NETWORK: Final = "para-sessions"
SAVED_IMAGE: Final = "para-saved"
FITTED_IMAGE: Final = "para-fitted"
BASE_IMAGE: Final = "para-base:latest"
AGENT_IMAGE_PREFIX: Final = "para-agent-"
AUTHENTICATED_IMAGE: Final = "para-authenticated:latest"  # with Claude's login

ADJECTIVES: Final = (
    "amber bold brave brisk calm clever crisp eager early fair fresh gentle golden keen kind "
    "lively lucky mellow merry modest noble polite proud quick quiet rapid ready silver sound "
    "steady sunny swift tidy vivid warm wise"
).split()
NOUNS: Final = (
    "acorn aspen badger beacon birch brook cedar comet coral crane dune ember falcon fern finch "
    "garnet harbor heron iris jasper kestrel lake lark lotus maple meadow otter pebble pine "
    "quartz reef river robin sparrow spruce thistle tulip willow wren"
).split()


def generate_name() -> str:
    """Return a random name (adjective-noun)."""
    return f"{secrets.choice(ADJECTIVES)}-{secrets.choice(NOUNS)}"


def generate_session_id(name: str) -> str:
    """Return a unique session id: the name in a-z 0-9 -, and six hex digits."""
    slug = "".join(c if c.isascii() and c.isalnum() else "-" for c in name.lower()).strip("-")
    return f"{slug or 'session'}-{secrets.token_hex(3)}"


def is_valid_branch(text: str) -> bool:
    """Return whether git accepts a branch name, and does not read it as an option."""
    return text != "" and not text.startswith("-") and _INVALID_REF.search(text) is None


def container_name(session_id: str) -> str:
    """Return the name of a session's container."""
    return f"{CONTAINER_PREFIX}{session_id}"


def session_network(session_id: str) -> str:
    """Return the name of a session's own network, for engines where sessions cannot share one."""
    return f"{SESSION_NETWORK}-{session_id}"


def overlay_volume_name(session_id: str) -> str:
    """Return the name of the volume that overlays a session's files on a base checkout."""
    return f"{VOLUME_PREFIX}{session_id}"


def declared_volume_name(session_id: str, target: str) -> str:
    """Return the name of a session's volume for a VOLUME that its image declares."""
    place = hashlib.sha256(target.encode()).hexdigest()[:8]
    return f"{VOLUME_PREFIX}{session_id}.{place}"


def is_para_image(image: str) -> bool:
    """Return whether para builds an image of this name."""
    repository = AUTHENTICATED_IMAGE.partition(":")[0]
    return image == BASE_IMAGE or image.startswith((f"{repository}:", AGENT_IMAGE_PREFIX))


def saved_image(session_id: str) -> str:
    """Return the name of the image that a paused session is saved in."""
    return f"{SAVED_IMAGE}:{session_id}"


def fitted_image(image_id: str, ids: tuple[int, int]) -> str:
    """Return the name of the image that was adapted to a user id and a group id."""
    return f"{FITTED_IMAGE}:{ids[0]}-{ids[1]}-{image_id.rpartition(':')[2][:12]}"


def agent_image(agent: str) -> str:
    """Return the name of an agent's image without a login."""
    return f"{AGENT_IMAGE_PREFIX}{agent}:latest"


def login_image(agent: str) -> str:
    """Return the name of an agent's image with its login."""
    repository = AUTHENTICATED_IMAGE.partition(":")[0]
    return AUTHENTICATED_IMAGE if agent == "claude" else f"{repository}:{agent}"


def login_name(agent: str, home: Path) -> str:
    """Return the name of an agent's login container, which is also that of its login volume."""
    return f"{LOGIN_PREFIX}{agent}-{hashlib.sha256(str(home).encode()).hexdigest()[:6]}"


def image_build_params(image: str) -> dict[str, str]:
    """Return the params with which `para.image.build` builds an image of para."""
    if not image.startswith(AGENT_IMAGE_PREFIX):
        return {}
    return {"agent": image.removeprefix(AGENT_IMAGE_PREFIX).partition(":")[0]}


def base_ref(session_id: str) -> str:
    """Return the ref that protects a session's base commit from garbage collection."""
    return f"refs/para/base/{session_id}"


def archive_ref(session_id: str) -> str:
    """Return the ref of the work that is not in a session's finished branch."""
    return f"refs/para/archive/{session_id}"


def review_ref(session_id: str) -> str:
    """Return the ref of the latest review of an active session."""
    return f"refs/para/review/{session_id}"


def incoming_ref(session_id: str) -> str:
    """Return the ref of a session's commits before they are verified."""
    return f"refs/para/incoming/{session_id}"
