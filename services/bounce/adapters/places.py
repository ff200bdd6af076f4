"""Where a listener listens: a TCP port, or a Unix socket in the file system.

A socket's file outlives a killed process, and does not show whether somebody still listens. So a listener holds a lock
file beside it, which the system releases in any case; only the lock's holder deletes a socket, and only one that nobody
answers.
"""

import asyncio
import errno
import fcntl
import os
import socket
import stat
from collections.abc import Callable
from dataclasses import dataclass, field

Make = Callable[[], asyncio.Protocol]
_BACKLOG = 100


class Taken(Exception):
    """Another process listens there."""


@dataclass(frozen=True, slots=True)
class TcpPlace:
    """Port 0 picks a free one."""

    host: str
    port: int

    async def listen(self, make: Make) -> tuple[asyncio.Server, int | str]:
        """Return a server, and its port. Raises Taken."""
        try:
            server = await asyncio.get_running_loop().create_server(make, self.host, self.port)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise Taken from error
            raise
        return server, server.sockets[0].getsockname()[1]

    def leave(self) -> None:
        """A port needs no cleanup."""

    @property
    def name(self) -> str:
        return str(self.port)


@dataclass(slots=True)
class UnixPlace:
    """`mode`: the socket's permissions; whoever may write to it may submit mails. Its folder must exist."""

    path: str
    mode: int
    _lock: int | None = field(default=None, init=False)

    async def listen(self, make: Make) -> tuple[asyncio.Server, int | str]:
        """Return a server, and its path. Raises Taken, FileExistsError where the path is no socket, OSError."""
        self._lock = _locked(self.path + ".lock")
        try:
            bound = _bound(self.path, self.mode)
            return await asyncio.get_running_loop().create_unix_server(make, sock=bound), self.path
        except BaseException:
            self._unlock()
            raise

    def leave(self) -> None:
        """Delete the socket. The lock file stays: another process may wait for it."""
        if self._lock is not None:
            _remove(self.path)
            self._unlock()

    @property
    def name(self) -> str:
        return self.path

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _locked(path: str) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise Taken from error
    return descriptor


def _bound(path: str, mode: int) -> socket.socket:
    """Listen and set permissions before the rename to the final path, so that no client is refused in between."""
    _check_free(path)
    beside = path + ".new"
    _remove(beside)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.bind(beside)
        os.chmod(beside, mode)
        made.listen(_BACKLOG)
        os.rename(beside, path)
    except BaseException:
        made.close()
        raise
    made.setblocking(False)
    return made


def _check_free(path: str) -> None:
    """Raise Taken if a program without our lock listens, FileExistsError if the path is something else."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise FileExistsError(errno.EEXIST, "the path exists and is not a socket", path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1.0)
            probe.connect(path)
    except (FileNotFoundError, ConnectionRefusedError):
        return  # no listener, or a killed one
    raise Taken


def _remove(path: str) -> None:
    try:
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)
    except FileNotFoundError:
        return


Place = TcpPlace | UnixPlace


def place_of(host: str, where: int | str, mode: int) -> Place:
    """Parse the setting: a port, or `unix:/path`."""
    if isinstance(where, str):
        return UnixPlace(where.removeprefix("unix:"), mode)
    return TcpPlace(host, where)
