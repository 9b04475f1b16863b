"""Copy files into and out of containers."""

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

_MAX_FILE: Final = 4 << 20  # bytes


async def write_files(
    engine: Engine, container: str, files: Mapping[PurePosixPath, bytes], owner: tuple[int, int]
) -> None:
    """Write files into a container, running or not, readable by `owner` (uid, gid) alone.

    Their folders become the owner's too.
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
    """Change the owner of a container's files in a folder from the uid `before`, running or not."""

    def request(api: APIClient) -> None:
        with tempfile.TemporaryFile() as packed, tempfile.TemporaryFile() as repacked:
            with Stopper().closing(api):
                stream, _ = api.get_archive(container, str(folder))
                for chunk in stream:
                    packed.write(chunk)
            packed.seek(0)
            with (
                tarfile.open(fileobj=packed) as original,
                tarfile.open(fileobj=repacked, mode="w", format=tarfile.PAX_FORMAT) as archive,
            ):
                for entry in original:
                    if entry.uid == before:
                        entry.uid, entry.gid = owner
                        archive.addfile(
                            entry, original.extractfile(entry) if entry.isreg() else None
                        )
            repacked.seek(0)
            api.put_archive(container, str(folder.parent), repacked)

    await engine.call(request)


async def read_file(engine: Engine, container: str, path: PurePosixPath) -> bytes | None:
    """Return the content of a container's regular file, or None if there is none.

    Raises engine.refused for a file of more than 4 MiB.
    """

    def request(api: APIClient) -> bytes | None:
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

    return await engine.call(request)
