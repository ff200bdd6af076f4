"""Where a listener listens: a TCP port, or a Unix socket in the file system.

A socket's file outlives a process that was killed, and nobody can tell from it whether somebody still listens. So who
listens holds a lock beside it, which the system lets go of whatever happens; only its holder takes a file away, and
only one that is a socket to which nobody answers.
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
    """Somebody else listens there."""


@dataclass(frozen=True, slots=True)
class TcpPlace:
    """Port 0 takes a free one."""

    host: str
    port: int

    async def listen(self, make: Make) -> tuple[asyncio.Server, int | str]:
        """A server, and the port on which it listens. Raises Taken."""
        try:
            server = await asyncio.get_running_loop().create_server(make, self.host, self.port)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise Taken from error
            raise
        return server, server.sockets[0].getsockname()[1]

    def leave(self) -> None:
        """Nothing stays of a port."""

    @property
    def name(self) -> str:
        return str(self.port)


@dataclass(slots=True)
class UnixPlace:
    """`mode`: permissions of the socket; who may write to it may hand mails in. Its folder has to be there."""

    path: str
    mode: int
    _lock: int | None = field(default=None, init=False)

    async def listen(self, make: Make) -> tuple[asyncio.Server, int | str]:
        """A server, and its path. Raises Taken, FileExistsError where the path is no socket, OSError."""
        self._lock = _locked(self.path + ".lock")
        try:
            bound = _bound(self.path, self.mode)
            return await asyncio.get_running_loop().create_unix_server(make, sock=bound), self.path
        except BaseException:
            self._unlock()
            raise

    def leave(self) -> None:
        """Takes the socket away. The lock's file stays: another process may wait for it."""
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
    """It listens before it stands under its name, and with its permissions: nobody is turned away in between."""
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
    """Raises Taken where a program without our lock listens, FileExistsError where it is something else."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise FileExistsError(errno.EEXIST, "there is something else than a socket", path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1.0)
            probe.connect(path)
    except (FileNotFoundError, ConnectionRefusedError):
        return  # nobody, or one that was killed
    raise Taken


def _remove(path: str) -> None:
    try:
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)
    except FileNotFoundError:
        return


Place = TcpPlace | UnixPlace


def place_of(host: str, where: int | str, mode: int) -> Place:
    """By the setting: a port, or `unix:/path`."""
    if isinstance(where, str):
        return UnixPlace(where.removeprefix("unix:"), mode)
    return TcpPlace(host, where)
