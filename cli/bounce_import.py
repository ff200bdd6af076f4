"""`depesche bounce import`: bounce mails from a Maildir, a folder, an mbox or a zip file."""

import io
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.api import Content
from cli.errors import UsageError
from cli.exits import Exit
from cli.output import safe
from cli.progress import Advance, importing
from cli.reports import opened
from cli.session import Session, command
from libs import exact_json

commands = typer.Typer()  # part of `depesche bounce`

_PATH = "/bounce/v1/mails:import"
_PIECE = 1 << 16
_AT_ONCE = 5_000  # mails of a folder per request: a broken connection costs at most so many duplicates
_SHOWN = 20
_COUNTS = ("mails", "kept", "duplicate", "refused")


@dataclass(frozen=True, slots=True)
class _Request:
    """One request's body: `pieces` reports how many bytes of the source it has read."""

    media_type: str
    pieces: Callable[[Advance], Iterator[bytes]]


@command(commands, "import", example="depesche bounce import ~/Maildir --report refused.ndjson")
def import_mails(
    session: Session,
    path: Annotated[Path, typer.Argument(help="A Maildir, a folder of .eml files, an mbox, a zip, or one mail.")],
    report: Annotated[Path | None, typer.Option(help="File for every refused mail, as NDJSON.")] = None,
) -> None:
    """Submit bounce mails. After an interruption run it again: mails already stored are recognised. Exit code 1 if a
    mail was refused."""
    counts: Counter[str] = Counter()
    refusals: list[dict[str, Any]] = []
    problems: list[str] = []
    try:
        requests, size = _requests(path)
        with opened(report, path) as reported, importing(session, size) as advance:
            for one in requests:
                *mails, sums = session.api.post(_PATH, Content(one.pieces(advance), one.media_type))
                counts.update({name: sums[name] for name in _COUNTS})
                refusals += [mail for mail in mails if mail["result"] == "refused"]
                problems += [sums["problem"]] if sums["problem"] else []
            if reported is not None:
                reported.writelines(exact_json.dumps(refusal) + b"\n" for refusal in refusals)
    except OSError as error:
        raise UsageError(f"{error.filename or path} cannot be read: {error.strerror}.") from error
    done = {name: counts[name] for name in _COUNTS} | {"problem": "; ".join(problems) or None, "refusals": refusals}
    session.give(done, lambda found: _summary(found, path))
    if not session.as_json:
        _list_refusals(session, refusals, report)
    if refusals or problems:
        raise typer.Exit(Exit.REFUSED)


def _requests(path: Path) -> tuple[Iterable[_Request], int]:
    """Return the requests that submit it, and its total bytes. Raises UsageError, OSError."""
    if path.is_dir():
        files = _mails_in(path)
        if not files:
            raise UsageError(f"{path} contains no mails.", hint="Give a Maildir, or a folder with .eml files.")
        parts = [files[at : at + _AT_ONCE] for at in range(0, len(files), _AT_ONCE)]
        size = sum(file.stat().st_size for file in files)
        return [_Request("application/zip", _zipping(path, part)) for part in parts], size
    with path.open("rb") as file:
        head = file.read(5)
    if head.startswith(b"PK"):
        made = _Request("application/zip", _reading(path))
    elif head == b"From " and path.suffix.lower() != ".eml":
        made = _Request("application/mbox", _reading(path))
    else:
        made = _Request("application/zip", _zipping(path.parent, [path]))
    return [made], path.stat().st_size


def _mails_in(folder: Path) -> list[Path]:
    """Return a Maildir's files in its and its subfolders' cur and new, in order; of another folder, its .eml files."""
    maildirs = [found.parent for found in (folder / "cur", *folder.rglob("cur")) if (found.parent / "new").is_dir()]
    if maildirs:
        boxes = [maildir / box for maildir in dict.fromkeys(maildirs) for box in ("cur", "new")]
        return sorted(file for box in boxes if box.is_dir() for file in box.iterdir() if file.is_file())
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() == ".eml" and file.is_file())


def _reading(path: Path) -> Callable[[Advance], Iterator[bytes]]:
    def pieces(advance: Advance) -> Iterator[bytes]:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                yield piece
                advance(len(piece))

    return pieces


def _zipping(folder: Path, files: Iterable[Path]) -> Callable[[Advance], Iterator[bytes]]:
    def pieces(advance: Advance) -> Iterator[bytes]:
        pipe = _Pipe()
        with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for file in files:
                try:
                    raw = file.read_bytes()
                except FileNotFoundError:
                    continue  # a reader has moved it from new to cur, or flagged it: the next run finds it
                name = file.relative_to(folder).as_posix().encode("utf-8", "replace").decode()
                archive.writestr(name, raw)
                yield pipe.taken()
                advance(len(raw))
        yield pipe.taken()

    return pieces


class _Pipe(io.RawIOBase):
    """Collects the bytes of a zip file that is being written."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._waiting += data
        return len(data)

    def taken(self) -> bytes:
        taken = bytes(self._waiting)
        self._waiting.clear()
        return taken


def _summary(done: dict[str, Any], path: Path) -> str:
    noun = "mail" if done["mails"] == 1 else "mails"
    text = f"{done['mails']:,} {noun} of {safe(path.name)}: [green]{done['kept']:,} new[/]"
    text += f", {done['duplicate']:,} already stored"
    text += f", [red]{done['refused']:,} refused[/]." if done["refused"] else ", none refused."
    if done["problem"]:
        text += f"\n[red]Not read to the end: {safe(done['problem'])}[/]"
    return text


def _list_refusals(session: Session, refusals: list[dict[str, Any]], report: Path | None) -> None:
    for refusal in refusals[:_SHOWN]:
        session.err.print(f"[red]{safe(refusal['name'])}[/]: {safe(refusal['reason'])}")
    if len(refusals) > _SHOWN:
        rest = f"… and {len(refusals) - _SHOWN:,} more"
        session.err.print(f"{rest} in {safe(str(report))}." if report else f"{rest}: --report FILE writes all of them.")
