"""The only place that knows how files are copied into and out of containers."""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from para_server.core.errors import ParaError
from para_server.engine.client import Engine
from para_server.engine.exec_command import Stopper

if TYPE_CHECKING:
    from docker import APIClient

_MAX_FILE: Final = 4 << 20  # bytes: what is copied are small files


async def write_files(
    engine: Engine, container: str, files: Mapping[PurePosixPath, bytes], owner: tuple[int, int]
) -> None:
    """Write files into a container, running or not, for its `owner` alone.

    The folders that they stand in become the owner's too.
    """
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for folder in dict.fromkeys(path.parent for path in files):
            entry = tarfile.TarInfo(str(folder).lstrip("/"))
            entry.type, entry.mode = tarfile.DIRTYPE, 0o700
            entry.uid, entry.gid = owner
            archive.addfile(entry)
        for path, content in files.items():
            entry = tarfile.TarInfo(str(path).lstrip("/"))
            entry.size, entry.mode = len(content), 0o600
            entry.uid, entry.gid = owner
            archive.addfile(entry, io.BytesIO(content))
    await engine.call(lambda api: api.put_archive(container, "/", packed.getvalue()))


async def change_owner(
    engine: Engine, container: str, folder: PurePosixPath, before: int, owner: tuple[int, int]
) -> None:
    """Give what the uid `before` has in a folder of a container, running or not, to an owner."""

    def ask(api: APIClient) -> None:
        with tempfile.TemporaryFile() as packed, tempfile.TemporaryFile() as given:
            with Stopper().closing(api):
                stream, _ = api.get_archive(container, str(folder))
                for chunk in stream:
                    packed.write(chunk)
            packed.seek(0)
            with (
                tarfile.open(fileobj=packed) as found,
                tarfile.open(fileobj=given, mode="w", format=tarfile.PAX_FORMAT) as archive,
            ):
                for entry in found:
                    if entry.uid == before:
                        entry.uid, entry.gid = owner
                        archive.addfile(entry, found.extractfile(entry) if entry.isreg() else None)
            given.seek(0)
            api.put_archive(container, str(folder.parent), given)

    await engine.call(ask)


async def read_file(engine: Engine, container: str, path: PurePosixPath) -> bytes | None:
    """Read a plain file of a container; None where there is none."""

    def ask(api: APIClient) -> bytes | None:
        from docker.errors import NotFound

        packed = io.BytesIO()
        with Stopper().closing(api):
            try:
                stream, _ = api.get_archive(container, str(path))
            except NotFound:
                return None
            for chunk in stream:
                packed.write(chunk)
                if packed.tell() > _MAX_FILE:
                    raise ParaError("engine.refused", f"{path} in {container} is too large")
        packed.seek(0)
        with tarfile.open(fileobj=packed) as archive:
            entry = archive.next()
            content = archive.extractfile(entry) if entry is not None and entry.isfile() else None
            return content.read() if content is not None else None

    return await engine.call(ask)
