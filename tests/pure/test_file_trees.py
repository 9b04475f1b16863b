"""Walks of folders of any depth, in which a session may have put links."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from para_server.host import file_trees
from para_server.host.filesystem import has_entries, is_kind, remove_tree

DEPTH = 3000  # longer than any path, and than the number of files that a process can open


def make_deep_tree(folder: Path) -> None:
    down = f'for _ in range({DEPTH}):\n os.mkdir("d")\n os.chdir("d")'
    script = f"import os, sys\nos.chdir(sys.argv[1])\n{down}"
    subprocess.run(["python3", "-c", script, folder], check=True)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Create a folder that no walk must reach."""
    folder = tmp_path / "outside"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner/file").write_text("of the host\n")
    return folder


def test_removal_follows_no_link_and_has_no_depth_limit(tmp_path: Path, outside: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "closed/inner").mkdir(parents=True)
    (tree / "read-only").mkdir()
    (tree / "read-only/file").write_text("x")
    (tree / "link").symlink_to(outside)
    (tree / "closed/inner/link").symlink_to(outside / "inner/file")
    (tree / os.fsdecode(b"not\xff\nutf-8")).mkdir()
    os.mkfifo(tree / "pipe")
    make_deep_tree(tree)
    (tree / "read-only").chmod(0o500)
    (tree / "closed").chmod(0)
    remove_tree(tree)
    assert not tree.exists()
    assert (outside / "inner/file").read_text() == "of the host\n"


def test_removal_of_a_link_or_a_file_or_nothing(tmp_path: Path, outside: Path) -> None:
    link, file = tmp_path / "link", tmp_path / "file"
    link.symlink_to(outside)
    file.write_text("x")
    for one in (link, file, tmp_path / "nothing"):
        remove_tree(one)
        assert not os.path.lexists(one)
    assert (outside / "inner/file").exists()


def test_a_folder_replaced_by_a_link_during_a_walk_is_not_followed(
    tmp_path: Path, outside: Path
) -> None:
    tree = tmp_path / "tree"
    for name in ("a", "b"):
        (tree / name).mkdir(parents=True)
    seen: list[str] = []
    for step in file_trees.walk(tree):
        seen += step.names
        for folder in tree.iterdir():  # as a session could do at this moment
            if not folder.is_symlink():
                folder.rename(tmp_path / f"moved-{folder.name}")
                folder.symlink_to(outside)
    assert sorted(seen) == ["a", "b"]


def test_a_folder_moved_during_a_walk_ends_the_walk(tmp_path: Path, outside: Path) -> None:
    inner = tmp_path / "tree" / "a" / "b"
    inner.mkdir(parents=True)

    def walked() -> None:
        for step in file_trees.walk(tmp_path / "tree"):
            if not step.names:
                inner.rename(outside / "b")  # its parent is now a folder of the host

    with pytest.raises(OSError, match="Stale"):
        walked()


@pytest.mark.root
def test_a_change_of_owner_follows_no_link(tmp_path: Path, outside: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "inner").mkdir(parents=True)
    (tree / "inner/file").write_text("x")
    (tree / "inner/link").symlink_to(outside)
    file_trees.change_owner(tree, 1234)
    for one in (tree, tree / "inner", tree / "inner/file", tree / "inner/link"):
        assert (one.lstat().st_uid, one.lstat().st_gid) == (1234, 1234)
    for one in (outside, outside / "inner", outside / "inner/file"):
        assert one.stat().st_uid == os.geteuid()


def test_checks_below_a_folder_follow_no_link(tmp_path: Path, outside: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "inner").mkdir(parents=True)
    (tree / "inner/file").write_text("x")
    assert is_kind(tree, "inner/file", stat.S_ISREG)
    assert has_entries(tree, "inner")
    (tree / "through").symlink_to(outside)
    (tree / "file").symlink_to(outside / "inner/file")
    assert not is_kind(tree, "file", stat.S_ISREG)
    assert not is_kind(tree, "through/inner/file", stat.S_ISREG)
    assert not is_kind(tree, "inner/missing", stat.S_ISREG)
    assert not has_entries(tree, "through")
    assert not has_entries(tree, "through/inner")
