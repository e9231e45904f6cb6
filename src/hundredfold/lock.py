"""One process at a time: a lock that the kernel takes back when its process ends, however it ends."""

from __future__ import annotations

import errno
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from hundredfold.errors import RunBusyError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["alone"]


@contextmanager
def alone(path: Path, work: str) -> Iterator[None]:
    """Keep other processes from ``work`` meanwhile, by a lock on the file ``path``, which is there as long.

    A file that a ``kill -9`` left behind locks nothing: the lock is the process's, not the file's. A POSIX
    record lock in place of ``flock``, since forked workers do not inherit it: they may outlive a killed
    parent by seconds. Threads of one process are not kept apart. Where the platform or the file
    system has no such locks (Windows, some network file systems) nothing is locked.

    Args:
        path: the lock file, in a folder that exists.
        work: what is done, for the sentence: "pretrain".

    Raises:
        RunBusyError: another process holds the lock; nothing was changed.

    Examples:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / ".scan.lock"
        >>> with alone(path, "scan"):
        ...     print(path.exists())
        True
        >>> path.exists()
        False
    """
    if fcntl is None:
        yield
        return
    with _taken(path, work) as file:
        try:
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}")
            file.flush()
            yield
        finally:
            path.unlink(missing_ok=True)  # still locked: nobody else can hold it


def _taken(path: Path, work: str) -> TextIO:
    """The lock file, open and locked."""
    while True:
        file = path.open("a+", encoding="utf-8")
        if not _locks(file):
            with file:
                file.seek(0)
                holder = file.read()
            raise RunBusyError(
                f"another process works on {work} of this run" + (f" ({holder})" if holder else ""),
                where=path.parent,
                remedy="Wait until it has ended, or end it and continue with --resume, or choose another "
                "--out; nothing was changed.",
            )
        if _is(file, path):
            return file
        file.close()  # its holder deleted it after we had opened it


def _locks(file: TextIO) -> bool:
    """Lock the file; false if another process has."""
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:  # any other error: the file system has no locks
        return error.errno not in {errno.EACCES, errno.EAGAIN}
    return True


def _is(file: TextIO, path: Path) -> bool:
    """Whether the open file is the one at ``path``."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
