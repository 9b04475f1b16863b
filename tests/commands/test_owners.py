"""Owners of session files, with images whose user has another uid."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from para_server.core.errors import ParaError
from para_server.core.repository_settings import normalize_image
from para_server.core.settings import EngineSettings
from para_server.engine.endpoint import find_address
from para_server.engine.engine_info import EngineInfo
from para_server.sessions.file_ownership import Owner, decide_owner
from tests import engine, scratch
from tests.client import Para

Servers = Callable[..., Awaitable[Para]]
OTHER = 1234 if os.geteuid() != 1234 else 1235  # neither this user's nor the image's


def facts(**known: object) -> EngineInfo:
    plain = {
        "version": "",
        "cpus": 1,
        "memory": 1,
        "unsupported_limits": (),
        "time": "",
        "architecture": "",
    }
    how = {"rootless": False, "remapped": False, "root": 0}
    return EngineInfo.model_validate(plain | how | known)


@pytest.mark.parametrize(
    ("known", "uid", "owner"),
    [
        ({}, 0, Owner(host=1000, inside=(1000, 1000))),
        ({}, 501, Owner(host=None, inside=(501, 20))),
        ({"remapped": True, "root": 100000}, 0, Owner(host=101000, inside=(1000, 1000))),
        ({"rootless": True, "root": 501}, 501, Owner(host=None, inside=(0, 0))),
        ({"rootless": True, "root": 0}, 0, Owner(host=None, inside=(0, 0))),
    ],
)
def test_owner_depends_on_the_engine_and_the_user(
    known: dict[str, object], uid: int, owner: Owner
) -> None:
    assert decide_owner(facts(**known), uid, 20) == owner


@pytest.mark.parametrize(
    ("known", "told"),
    [
        ({"remapped": True, "root": 100000}, "userns-remap"),
        ({"rootless": True, "root": 502}, "the rootless one of uid 502"),
    ],
)
def test_engine_that_cannot_own_files_of_this_user_is_refused(
    known: dict[str, object], told: str
) -> None:
    with pytest.raises(ParaError, match=told) as caught:
        decide_owner(facts(**known), 501, 20)
    assert caught.value.slug == "engine.refused"


@pytest.fixture
def other_image(api: Any, home: Path) -> Iterator[str]:
    """Build an image whose user `para` has other ids and a file in its home."""
    name = f"para-test-other-{os.getpid()}:latest"
    change = f"s/^para:x:[0-9]*:[0-9]*/para:x:{OTHER}:{OTHER}/"
    recipe = (
        "FROM para-base:latest\nUSER root\n"
        f"RUN sed -i '{change}' /etc/passwd && touch /home/para/mine"
        f" && chown -R {OTHER}:{OTHER} /home/para\nUSER para\n"
    )
    list(api.build(fileobj=BytesIO(recipe.encode()), tag=name, rm=True))
    yield name
    engine.clear(api, home)
    engine.drop(api, name)


async def test_image_with_another_uid_is_fitted(para: Para, api: Any, other_image: str) -> None:
    session = await para.call(
        "para.dispatch", prompt="ls -n ~/mine >mine; touch here", name="fix", image=other_image
    )
    assert session["container"]["image"] == other_image
    assert (await para.agent("fix", "done"))["agent"]["state"] == "done"
    listed = engine.run(api, session["container"]["name"], "cat mine; stat -c %u here").split()
    expected = str(os.geteuid() or 1000)
    assert listed[2] == expected, "what was its user's stays its user's"
    assert listed[-1] == expected
    assert (await para.call("para.finish", name="fix", message="Do it"))["files"] == 2


async def test_image_is_fitted_once(para: Para, api: Any, other_image: str) -> None:
    for name in ("one", "two"):
        await para.call("para.start", name=name, image=other_image)
    image = api.inspect_image(other_image)["Id"]
    assert len(api.images(filters={"label": f"dev.para.fitted={image}"})) == 1
    for name in ("one", "two"):
        await para.call("para.cancel", name=name)
    removed = (await para.call("para.clean"))["removed"]
    assert any(one.startswith("image para-fitted:") for one in removed)
    assert api.images(filters={"label": f"dev.para.fitted={image}"}) == []


async def test_dry_run_reports_the_fitted_images_that_clean_removes(
    para: Para, api: Any, other_image: str
) -> None:
    await para.call("para.start", name="fix", image=other_image)
    image = api.inspect_image(other_image)["Id"]
    [fitted] = api.images(filters={"label": f"dev.para.fitted={image}"})
    what = f"image {normalize_image(fitted['RepoTags'][0])}"
    needed = f"{what}: session images are based on it"
    for do in ("para.show", "para.pause", "para.cancel"):
        await para.call(do, name="fix")
        would = await para.call("para.clean", dryRun=True)
        if do == "para.show":
            assert needed in would["kept"]
        if do == "para.cancel":
            assert what in would["removed"]
        assert await para.call("para.clean") == would
    assert (await para.call("para.clean", dryRun=True))["removed"] == []
    # nor the steps of its build, which containerd's image store leaves
    assert [one["Id"] for one in api.images(all=True) if one.get("ParentId") == image] == []


async def test_fitting_reports_one_line_of_progress(para: Para, other_image: str) -> None:
    progress = "a-progress"
    para.lsp.progress_reports[progress] = []
    params = {"name": "fix", "image": other_image}
    await para.answer(para.send("para.start", [params], token=progress))
    told = [getattr(one, "message", None) for one in para.lsp.progress_reports[progress]]
    assert [line for line in told if line and "fix" not in line] == [
        f"Fitting {other_image} to uid {os.geteuid() or 1000}, once: this takes a while"
    ]


@pytest.mark.parametrize("change", ["/^para:/d", "s/^para:x:[0-9]*/para:x:²/"])
async def test_image_without_the_user_is_refused(para: Para, api: Any, change: str) -> None:
    name = f"para-test-nobody-{os.getpid()}:latest"
    recipe = f"FROM para-base:latest\nUSER root\nRUN sed -i '{change}' /etc/passwd\nUSER 1000\n"
    list(api.build(fileobj=BytesIO(recipe.encode()), tag=name, rm=True))
    try:
        refused = await para.fails("engine.refused", "para.start", image=name)
        assert f"The image {name} has no user para" in refused.message
    finally:
        api.remove_image(name, force=True)


@pytest.fixture
def open_place() -> Iterator[Path]:
    """Create a folder that other users can enter, unlike those of pytest."""
    place = Path(tempfile.mkdtemp(prefix="para-owners-"))
    place.chmod(0o755)
    yield place
    shutil.rmtree(place)


@pytest.mark.root
async def test_second_user_of_the_engine_uses_the_same_image(
    open_place: Path, servers: Servers, api: Any, environ: dict[str, str]
) -> None:
    assert api.ping()
    place = open_place
    repo = scratch.make(place / "repo")
    own = {"HOME": str(place), "PARA_HOME": str(place / "home")}
    own |= {"PARA_CONFIG_HOME": str(place / "config"), "GIT_CONFIG_GLOBAL": os.devnull}
    for root, folders, files in os.walk(place):
        for entry in (root, *(os.path.join(root, name) for name in (*folders, *files))):  # noqa: PTH118 # as os.walk has them
            os.chown(entry, OTHER, OTHER, follow_symlinks=False)
    address = find_address(EngineSettings(), environ)
    socket = address.removeprefix("unix://") if address.startswith("unix://") else None
    groups = f"--groups={Path(socket).stat().st_gid}" if socket else "--clear-groups"
    # the capability only lets the user read an installation that lies in root's home, and the
    # certificates of an engine behind TLS
    prefix = (
        *("setpriv", f"--reuid={OTHER}", f"--regid={OTHER}", groups),
        *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
    )
    para = await servers(folders=[repo.path], extra=own, prefix=prefix, watching=False)
    if "name=userns" in api.info()["SecurityOptions"]:
        refused = await para.fails("engine.refused", "para.start", name="fix")
        assert "userns-remap" in refused.message
        return
    try:
        await para.call("para.dispatch", prompt="id -u >whose", name="fix")
        await para.agent("fix", "done")
        await para.call("para.finish", name="fix", message="Do it")
        repo.git("config", "--global", "--add", "safe.directory", "*")
        assert repo.show("para/fix:whose") == str(OTHER)
        stray = place / "home/scratch/gone-aaaaaa.00000000"
        (stray / "of-root").mkdir(parents=True)  # as a helper leaves it that was killed
        os.chown(stray, OTHER, OTHER)
        await para.call("para.clean")
        assert not stray.exists()
    finally:
        engine.clear(api, place / "home")
