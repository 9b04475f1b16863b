"""The only place that knows how a record lies on the disk, and what may lie there instead."""

from __future__ import annotations

import json
import os
import secrets
import stat
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from para_server.disk import unreadable
from para_server.errors import SETUP_CHECK, ParaError
from para_server.records import SCHEMA, Record

if TYPE_CHECKING:
    from pathlib import Path

_LARGEST: Final = 256 << 20  # bytes of a record: a prompt may have 16 MiB, each byte six of them


def put(file: Path, content: bytes, *, lasting: bool = True) -> None:
    """Write a file that is there whole or not at all; `lasting` is for power cuts too."""
    draft = file.with_name(f"{file.stem}.{secrets.token_hex(4)}.tmp")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            if lasting:
                os.fsync(descriptor)
        draft.replace(file)
        if lasting:
            _sync_folder(file.parent)
    finally:
        draft.unlink(missing_ok=True)


def read(file: Path, session_id: str) -> Record | None:
    """Read the record of a session; raises store.unreadable and store.too-new."""
    try:
        # a pipe in its place would be waited for
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as stream:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise unreadable(file, "it is no file")
            content = stream.read(_LARGEST + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(file, error.strerror or str(error)) from None
    if len(content) > _LARGEST:
        raise unreadable(file, "it is too large for a record")
    return _parsed(file, content, session_id)


def _parsed(file: Path, content: bytes, session_id: str) -> Record:
    try:
        raw = json.loads(content)
        version = raw.get("version")
        if isinstance(version, int) and version > SCHEMA:
            raise ParaError(
                "store.too-new", f"{file} was written by a newer para: update this one", SETUP_CHECK
            )
        if b"\\ud" in content.lower():  # half a character could not go over the wire
            json.dumps(raw, ensure_ascii=False).encode()
        record = Record.model_validate(raw, by_alias=True)
    except (ValidationError, ValueError, AttributeError, RecursionError) as error:
        raise unreadable(file, f"it is not a record ({type(error).__name__})") from None
    if record.id != session_id:
        raise unreadable(file, "it is the record of another session")
    return record


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
