"""What helper containers are made from and can reach: nothing but what is mounted into them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from para_server.core import container_spec
from para_server.core.names import BASE_IMAGE, HELPER_PREFIX, LABEL_SESSION
from para_server.core.settings import EngineSettings
from para_server.engine import oneshot
from para_server.engine.client import Engine
from tests import engine
from tests.client import Para
from tests.killed_runs import set_aside
from tests.scratch import Repository

# open_by_handle_at of x86-64 and of arm64, with a handle that names nothing: who may use it hears
# that it is stale, and who may not that it is not permitted
HANDLE = r"""
use POSIX ();
my $open = (POSIX::uname())[4] eq "x86_64" ? 304 : 265;
my $handle = pack("Ii", 8, 1) . "\1" x 8;
open(my $place, "<", "/para-session/file") or die;
syscall($open, fileno($place), $handle, 0);
print $! == POSIX::EPERM ? "not permitted" : $!, "\n";
"""
LOOK = "cd /para-out; ls /sys/class/net >interfaces; tail -n +2 /proc/net/route >routes"


@pytest.fixture
def edge() -> Iterator[Engine]:
    made = Engine(EngineSettings(), os.environ)
    yield made
    made.close()


@contextmanager
def base_is(api: Any, image: str | None) -> Iterator[None]:
    """Let another image, or none, have the name of para's own."""
    with set_aside(api, BASE_IMAGE):
        if image is not None:
            api.tag(image, *BASE_IMAGE.split(":"))
        yield


async def test_work_is_taken_out_by_an_image_of_paras_own_alone(
    para: Para, repo: Repository, api: Any
) -> None:
    session = await para.call("para.start", name="fix")
    container = session["container"]["id"]
    engine.run(api, container, "echo work >work.txt")
    stranger = api.import_image_from_data(b"", repository="para-test-stranger", tag="1")
    assert stranger
    ours = api.commit(container, "para-test-ours", "1", changes=[f'LABEL {LABEL_SESSION}="x-1"'])
    try:
        for image, said in (
            (None, "There is no image para-base:latest"),
            ("para-test-stranger:1", "para-base:latest is not an image that para built"),
            (ours["Id"], "para-base:latest is not an image that para built"),
        ):
            with base_is(api, image):
                for command, params in (("finish", {"message": "x"}), ("diff", {}), ("cancel", {})):
                    failed = await para.fails(
                        "engine.image-missing", f"para.{command}", name="fix", **params
                    )
                    assert failed.message == said
                    assert failed.remedies[0]["command"] == "para.image.build"
        assert (await para.call("para.show", name="fix"))["state"] == "running"
    finally:
        for image in ("para-test-stranger:1", "para-test-ours:1"):
            api.remove_image(image, force=True)
    await para.call("para.finish", name="fix", message="work")
    assert repo.show("para/fix:work.txt") == "work"


async def test_work_in_closed_folders_comes_out(para: Para, repo: Repository, api: Any) -> None:
    session = await para.call("para.start", name="fix")
    script = "mkdir -p closed/inner; echo work >closed/inner/file; git add -A; git commit -qm one"
    closed = "echo more >closed/inner/more; chmod 0 closed/inner/* closed/inner closed"
    engine.run(api, session["container"]["id"], f"{script}; {closed}")
    await para.call("para.finish", name="fix", message="work")
    assert repo.show("para/fix:closed/inner/file") == "work"
    assert repo.show("para/fix:closed/inner/more") == "more"


async def test_a_helper_opens_no_file_by_its_handle(
    edge: Engine, home: Path, tmp_path: Path
) -> None:
    session = f"handle-{os.getpid()}"
    folder = tmp_path / "workspace"
    folder.mkdir()
    (folder / "file").write_text("x")
    script = "cd /para-out; perl handle.pl >told 2>&1; grep Cap /proc/self/status >caps"
    (tmp_path / "handle.pl").write_text(HANDLE)
    wanted = container_spec.helper_container(
        f"{HELPER_PREFIX}{session}",
        session,
        image=BASE_IMAGE,
        home=home,
        command=("bash", "-c", script),
        environment={},
        mounts=[
            container_spec.Mount(source=str(tmp_path), target=container_spec.OUT),
            container_spec.Mount(
                source=str(folder), target=container_spec.WORKSPACE, read_only=True
            ),
        ],
        file_size=1 << 20,
    )
    assert await oneshot.run(edge, wanted, 60) == 0
    # and neither of those that open a file wherever it is: DAC_READ_SEARCH (2), SYS_ADMIN (21)
    caps = dict(line.split(":") for line in (tmp_path / "caps").read_text().splitlines())
    for powers in caps.values():
        assert int(powers, 16) & ~(1 << 1) == 0, caps
    assert (tmp_path / "told").read_text() == "not permitted\n"


@pytest.mark.root
async def test_a_helper_removes_what_is_of_many_owners(
    edge: Engine, api: Any, home: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "left"
    sticky, closed = folder / "sticky", folder / "closed"
    for one in (sticky, closed):
        one.mkdir(parents=True)
        (one / "file").write_text("x")
        os.chown(one / "file", 4322, 4322)
        os.chown(one, 4321, 4321)
    sticky.chmod(0o1777)
    closed.chmod(0)
    name = f"{HELPER_PREFIX}removal-{os.getpid()}"
    wanted = container_spec.removal_container(
        name, "x-1", image=BASE_IMAGE, home=home, folder=folder
    )
    assert await oneshot.run(edge, wanted, 60) == 0
    assert list(folder.iterdir()) == []
    assert not engine.containers(api, home)


async def test_a_helper_has_no_network(edge: Engine, api: Any, home: Path, tmp_path: Path) -> None:
    session = f"net-{os.getpid()}"
    wanted = container_spec.helper_container(
        f"{HELPER_PREFIX}{session}",
        session,
        image=BASE_IMAGE,
        home=home,
        command=("bash", "-ec", LOOK),
        environment={},
        mounts=[container_spec.Mount(source=str(tmp_path), target=container_spec.OUT)],
        file_size=1 << 20,
    )
    assert await oneshot.run(edge, wanted, 60) == 0
    assert (tmp_path / "interfaces").read_text().split() == ["lo"]
    assert (tmp_path / "routes").read_text() == ""
    assert not engine.containers(api, home)
