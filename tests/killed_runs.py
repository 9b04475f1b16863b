"""What a run of the tests that was killed has left on the engine, and how the next one mends it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from para_server.core.names import AUTHENTICATED_IMAGE, LABEL_HOME
from para_server.core.repository_settings import normalize_image
from tests import engine

_ASIDE = "para-test-aside"
_LOGINS = AUTHENTICATED_IMAGE.partition(":")[0]


@contextlib.contextmanager
def set_aside(api: Any, *names: str) -> Iterator[None]:
    """Take names off their images; they have them again afterwards, or with the next run."""
    for name in names:
        api.tag(name, _ASIDE, _aside(name))
        api.remove_image(name, force=True)
    try:
        yield
    finally:
        _put_back(api, *map(_aside, names))


def logins(api: Any) -> list[str]:
    """Name the images with the logins that the engine has for whoever works on this machine."""
    return [tag for image in api.images(name=_LOGINS) for tag in image["RepoTags"] or ()]


def mend(api: Any) -> None:
    """Give images their names back, and remove what sessions of killed runs have."""
    _put_back(
        api, *(tag.partition(":")[2] for one in api.images(name=_ASIDE) for tag in one["RepoTags"])
    )
    label = {"label": LABEL_HOME}
    listed = [*api.containers(all=True, filters=label), *api.networks(filters=label)]
    for home in {one["Labels"][LABEL_HOME] for one in listed}:
        if _is_of_a_killed_run(Path(home)):
            engine.clear(api, home)


def _aside(name: str) -> str:
    return normalize_image(name).replace(":", "__")


def _put_back(api: Any, *tags: str) -> None:
    for tag in tags:
        api.tag(f"{_ASIDE}:{tag}", *tag.split("__"), force=True)
        api.remove_image(f"{_ASIDE}:{tag}", force=True)


def _is_of_a_killed_run(home: Path) -> bool:
    """Tell by the lock that pytest holds in its folder as long as it runs."""
    temporary = Path(os.environ.get("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())).resolve()
    if not home.is_relative_to(temporary):
        return False
    of_user, run, *_ = (*home.relative_to(temporary).parts, "", "")
    if not (of_user.startswith("pytest-of-") and run.startswith("pytest-")):
        return False
    try:
        os.kill(int((temporary / of_user / run / ".lock").read_text()), 0)
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return True
    except PermissionError:
        pass
    return False
