"""Removal of folders with any content, and of nothing else."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from para_server.host.filesystem import has_entries, is_kind, remove_tree

DEPTH = 5000


def deepen(folder: Path, depth: int) -> None:
    """Create nested folders, far deeper than the maximum length of a path."""
    folder.mkdir()
    here = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=here))
    os.close(here)


def test_a_tree_of_any_depth_is_removed(tmp_path: Path) -> None:
    deepen(tmp_path / "deep", DEPTH)
    remove_tree(tmp_path / "deep")
    assert list(tmp_path.iterdir()) == []


def test_folders_without_permissions_are_removed(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for name in ("closed", "unlisted", "unwritable"):
        (folder / name / "inner").mkdir(parents=True)
        (folder / name / "inner" / "file").write_text("x")
    for name, mode in (("closed", 0), ("unlisted", 0o300), ("unwritable", 0o500)):
        (folder / name / "inner").chmod(mode)
        (folder / name).chmod(mode)
    folder.chmod(0)
    remove_tree(folder)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_links_are_removed_and_not_followed(tmp_path: Path, kind: str) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("kept")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "link").symlink_to(kept if kind == "folder" else kept / "file")
    remove_tree(tmp_path / "folder")
    (tmp_path / "link").symlink_to(kept)
    remove_tree(tmp_path / "link")
    remove_tree(tmp_path / "nothing")
    assert list(tmp_path.iterdir()) == [kept]
    assert (kept / "file").read_text() == "kept"


def test_pipes_and_unusual_names_are_removed(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    os.mkfifo(folder / "pipe")
    for name in (b"\xff\xfe", b"a\nb", b"-rf", b"x" * 255):
        (folder / os.fsdecode(name)).touch()
        (folder / os.fsdecode(b"d" + name[:200])).mkdir()
    remove_tree(folder)
    assert list(tmp_path.iterdir()) == []


def test_checks_of_paths_follow_no_link(tmp_path: Path) -> None:
    (tmp_path / "real" / "inner").mkdir(parents=True)
    (tmp_path / "real" / "inner" / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "to-file").symlink_to(tmp_path / "real" / "inner" / "file")
    assert is_kind(tmp_path, "real/inner/file", stat.S_ISREG)
    assert is_kind(tmp_path, "real", stat.S_ISDIR)
    assert has_entries(tmp_path, "real/inner")
    assert not has_entries(tmp_path, "link/inner")
    assert not is_kind(tmp_path, "link/inner/file", stat.S_ISREG)
    assert not is_kind(tmp_path, "real/to-file", stat.S_ISREG)
    assert not is_kind(tmp_path, "nowhere/file", stat.S_ISREG)
