"""Read and write the JSON file of a record; what is there may be damaged or hostile."""

from __future__ import annotations

import os
import re
import secrets
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError
from pydantic_core import from_json

from para_server.core.errors import CHECK_SETUP, ParaError
from para_server.core.records import SCHEMA, Record
from para_server.host.filesystem import unreadable_error

if TYPE_CHECKING:
    from pathlib import Path

MAX_TEXT: Final = 32 << 20  # bytes of a string in a record, encoded as JSON
_MAX_RECORD: Final = MAX_TEXT + (1 << 20)  # bytes of a record
_MAX_VALUES: Final = (
    1 << 20
)  # bytes of JSON, strings aside, that take little memory whatever they are
_JSON_TEXT: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)


def write_file(file: Path, content: bytes, *, lasting: bool = True) -> None:
    """Write a file atomically; with `lasting` it also survives a power cut."""
    draft = file.with_name(f"{file.stem}.{secrets.token_hex(4)}.tmp")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            if lasting:
                os.fsync(descriptor)
        draft.replace(file)
    except BaseException:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    if lasting:
        _sync_folder(file.parent)


def read_record(file: Path, session_id: str) -> Record | None:
    """Return the record of a session, None if there is no file.

    Raises store.unreadable and store.too-new.
    """
    try:
        # opening a named pipe would block
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as stream:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise unreadable_error(file, "it is not a regular file")
            if status.st_size > _MAX_RECORD:  # also of a sparse file
                raise unreadable_error(file, "it is too large for a record")
            content = stream.read(_MAX_RECORD)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable_error(file, error.strerror or str(error)) from None
    if len(content) > _MAX_VALUES and not _has_few_values(content):
        raise unreadable_error(file, "it has too many values for a record")
    return _parse_record(file, content, session_id)


def _has_few_values(content: bytes) -> bool:
    """Return whether JSON is long only because of strings: other values take far more memory."""
    room, at = _MAX_VALUES, 0
    for text in _JSON_TEXT.finditer(content):
        room -= text.start() - at + 1
        if room < 0:
            return False
        at = text.end()
    return len(content) - at <= room


def _parse_record(file: Path, content: bytes, session_id: str) -> Record:
    try:
        raw = from_json(content)
        version = raw.get("version")
        if isinstance(version, int) and version > SCHEMA:
            raise ParaError(
                "store.too-new", f"{file} was written by a newer para: update para", CHECK_SETUP
            )
        record = Record.model_validate(raw, by_alias=True)
    except (ValidationError, ValueError, AttributeError, RecursionError) as error:
        raise unreadable_error(file, f"it is not a record ({type(error).__name__})") from None
    if record.id != session_id:
        raise unreadable_error(file, "it is the record of another session")
    return record


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
