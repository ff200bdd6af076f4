"""Zip files and mboxes are parsed while they arrive, in pieces of any size, within limits."""

import io
import mailbox
import tracemalloc
import zipfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.bounce.domain.archives import READERS, Bounds, Found, Refused, Unreadable

MAILS = [b"Subject: one\n\nkim\n", b"Subject: two\r\n\r\nX\r\n", b"Subject: three\n\n" + b"a line\n" * 3_000]
BOUNDS = Bounds(50_000, 10_000_000, 1_000)
MEGABYTE = 1 << 20


def taken(kind: str, raw: bytes, size: int = 1 << 16, bounds: Bounds = BOUNDS) -> list[Found | Refused]:
    reader = READERS[kind](bounds)
    found: list[Found | Refused] = []
    for at in range(0, len(raw), size):
        found += reader.feed(raw[at : at + size])
    return [*found, *reader.finish()]


def zipped(mails: Iterable[tuple[str, bytes]], how: int = zipfile.ZIP_DEFLATED, *, streamed: bool = False) -> bytes:
    class Pipe(io.RawIOBase):
        """A zip written to a socket has sizes after its entries."""

        def writable(self) -> bool:
            return True

        def write(self, data: object) -> int:
            file.write(bytes(data))  # type: ignore[call-overload]
            return len(bytes(data))  # type: ignore[call-overload]

    file = io.BytesIO()
    with zipfile.ZipFile(Pipe() if streamed else file, "w", how) as archive:  # type: ignore[arg-type]
        for name, raw in mails:
            archive.writestr(name, raw)
    return file.getvalue()


def named(mails: Iterable[bytes] = MAILS) -> list[tuple[str, bytes]]:
    return [(f"bounces/{n}.eml", raw) for n, raw in enumerate(mails)]


@pytest.mark.parametrize("size", [1, 7, 100, 1 << 16])
@pytest.mark.parametrize(
    "raw",
    [zipped(named()), zipped(named(), streamed=True), zipped(named(), zipfile.ZIP_STORED)],
    ids=["deflated", "streamed", "stored"],
)
def test_a_zip_yields_its_mails_in_pieces_of_any_size(raw: bytes, size: int) -> None:
    assert taken("application/zip", raw, size) == [Found(name, mail) for name, mail in named()]


def test_a_zip64_with_sizes_after_its_entries_is_read() -> None:
    file = io.BytesIO()
    file.seek = lambda *_: file.detach()  # type: ignore[method-assign]
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, mail in [*named(), ("empty.eml", b"")]:
            with archive.open(name, "w", force_zip64=True) as entry:
                entry.write(mail)
    *found, empty = taken("application/zip", file.getvalue(), 11)
    assert found == [Found(name, mail) for name, mail in named()]
    assert empty == Refused("empty.eml", "It is empty.")


def test_entries_of_a_zip_that_are_not_mails_are_skipped() -> None:
    raw = zipped([("box/", b""), ("__MACOSX/box/._1.eml", b"x"), ("box/.DS_Store", b"x"), *named(MAILS[:1])])
    assert [one.name for one in taken("application/zip", raw)] == ["bounces/0.eml"]


def test_an_oversized_or_damaged_mail_is_refused_and_the_others_are_found() -> None:
    raw = bytearray(zipped([("large.eml", bytes(range(256)) * 500), *named()], zipfile.ZIP_STORED))
    at = raw.index(b"kim")
    raw[at : at + 3] = b"tim"
    large, damaged, *found = taken("application/zip", bytes(raw))
    assert isinstance(large, Refused)
    assert "larger than the 50,000 bytes" in large.reason
    assert isinstance(damaged, Refused)
    assert "checksum" in damaged.reason
    assert [one.name for one in found] == ["bounces/1.eml", "bounces/2.eml"]


@pytest.mark.parametrize("streamed", [True, False])
def test_a_zip_bomb_is_abandoned_early(streamed: bool) -> None:
    bomb = zipped([*named(MAILS[:1]), ("bomb.eml", bytes(64 * MEGABYTE))], streamed=streamed)
    found = READERS["application/zip"](Bounds(50_000, 100 * MEGABYTE, 10)).feed(bomb)
    tracemalloc.start()
    assert next(found) == Found("bounces/0.eml", MAILS[0])
    with pytest.raises(Unreadable, match="200-fold"):
        next(found)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * MEGABYTE


def test_a_million_entries_and_a_gigabyte_are_bounded() -> None:
    many = zipped((f"{n}.eml", b"") for n in range(1_100))
    with pytest.raises(Unreadable, match="more than 1,000 mails"):
        taken("application/zip", many)
    with pytest.raises(Unreadable, match="100,000 bytes in all"):
        taken("application/zip", zipped(named(MAILS * 10)), bounds=Bounds(50_000, 100_000, 1_000))
    with pytest.raises(Unreadable, match="100,000 bytes in all"):
        taken("application/mbox", b"From a@b.example\n" + b"x\n" * 100_000, bounds=Bounds(50_000, 100_000, 1_000))
    with pytest.raises(Unreadable, match="100,000 bytes in all"):
        taken(
            "application/mbox",
            (b"From a@b.example\n" + b"x\n" * 2_000 + b"\n") * 30,
            bounds=Bounds(50_000, 100_000, 99),
        )
    with pytest.raises(Unreadable, match="more than 1,000 mails"):
        taken("application/mbox", b"From a@b.example\n\n" * 1_100)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"From kim@x.example\n\n", "not a zip file"),
        (zipped(named())[:-200], "truncated"),
        (b"", "truncated"),
    ],
)
def test_a_file_that_is_not_a_whole_zip_is_refused_with_a_reason(raw: bytes, words: str) -> None:
    with pytest.raises(Unreadable, match=words):
        taken("application/zip", raw)


def test_a_truncated_zip_yields_the_mails_before_the_cut() -> None:
    raw = zipped(named(), zipfile.ZIP_STORED)
    reader = READERS["application/zip"](BOUNDS)
    found = list(reader.feed(raw[: raw.index(b"a line") + 100]))
    assert [one.name for one in found] == ["bounces/0.eml", "bounces/1.eml"]
    last = reader.finish()
    assert next(last) == Refused("bounces/2.eml", "The archive ends in the middle of it.")
    with pytest.raises(Unreadable):
        next(last)


@settings(max_examples=300)
@given(data=st.data())
def test_a_mutated_archive_yields_mails_or_a_reason(data: st.DataObject) -> None:
    kind, raw = data.draw(
        st.sampled_from(
            [
                ("application/zip", zipped(named())),
                ("application/zip", zipped(named(), streamed=True)),
                ("application/mbox", b"".join(b"From a@b.example\n" + mail + b"\n" for mail in MAILS)),
            ]
        )
    )
    at = data.draw(st.integers(0, len(raw)))
    raw = raw[:at] + data.draw(st.binary(max_size=40)) + raw[at + data.draw(st.integers(0, 40)) :]
    with suppress(Unreadable):
        found = taken(kind, raw, data.draw(st.sampled_from([13, 1 << 16])))
        assert all(isinstance(one, Found | Refused) for one in found)


@pytest.mark.parametrize("size", [1, 9, 1 << 16])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_an_mbox_yields_its_mails_unquoted(size: int, end: bytes) -> None:
    lines = [
        b"From MAILER-DAEMON Thu Nov 26 14:00:00 2026",
        b"Subject: one",
        b"",
        b">From here on it is quoted",
        b">>From there too",
        b"From the desk of Kim: no line of a mail that begins",
        b"",
        b"From now on we close at six",
        b"",
        b"From kim@x.example",
        b"Subject: two",
        b"",
        b"",
        b"From 1808@xxx Thu Nov 26 14:00:01 +0000 2026",
        b"",
        b"From - Thu Nov 26 14:00:02 2026",
        b"Subject: last",
    ]
    one, two, empty, last = taken("application/mbox", end.join(lines), size)
    assert isinstance(one, Found)
    assert one.raw.split(end)[2] == b"From here on it is quoted"
    assert one.raw.split(end)[3] == b">From there too"
    assert one.raw.endswith(b"close at six" + end)
    assert two == Found("mail 2", b"Subject: two" + end + end)
    assert empty == Refused("mail 3", "It is empty.")
    assert last == Found("mail 4", b"Subject: last")


def test_pythons_mbox_files_are_read(tmp_path: Path) -> None:
    box = mailbox.mbox(tmp_path / "box")
    for mail in MAILS:
        box.add(mail)
    box.add(b"Subject: quoted\n\nFrom us 12:00 to you\n")
    box.close()
    found = taken("application/mbox", (tmp_path / "box").read_bytes(), 1_000)
    raws = [one.raw for one in found if isinstance(one, Found)]
    assert len(raws) == 4
    assert (raws[0], raws[-1]) == (MAILS[0], b"Subject: quoted\n\nFrom us 12:00 to you\n")


def test_an_oversized_mail_of_an_mbox_is_skipped_in_little_memory() -> None:
    raw = (
        b"From a@b.example\nSubject: x\n\n" + b"y" * 76 * 1_000 + b"\nFrom c@d.example 10:00\nno\n" + b"z\n" * MEGABYTE
    )
    raw += b"\nFrom c@d.example\nSubject: small\n"
    tracemalloc.start()
    large, small = taken("application/mbox", raw)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(large, Refused)
    assert small == Found("mail 2", b"Subject: small\n")
    assert peak < MEGABYTE


def test_a_file_that_is_not_an_mbox_is_refused_with_a_reason() -> None:
    for raw in (b"Subject: a mail\n\n", b"", b"x" * 5_000):
        with pytest.raises(Unreadable, match="not an mbox"):
            taken("application/mbox", raw)


def test_an_mbox_inside_a_zip_yields_all_its_mails() -> None:
    box = b"From a@b.example\nSubject: one\n\nkim\n\nFrom a@b.example\nSubject: two\n\nkim\n"
    found = taken("application/zip", zipped([("Inbox", box), ("one.eml", b"From a@b.example\nSubject: x\n\nkim\n")]))
    assert found[:2] == [
        Found("Inbox, mail 1", b"Subject: one\n\nkim\n"),
        Found("Inbox, mail 2", b"Subject: two\n\nkim\n"),
    ]
    assert [one.name for one in found[2:]] == ["one.eml"]
    with pytest.raises(Unreadable, match="more than 2 mails"):
        taken("application/zip", zipped([("Inbox", box), *named()]), bounds=Bounds(50_000, 1_000_000, 2))


def test_a_zip_inside_a_zip_is_refused_with_a_reason() -> None:
    refused, found = taken("application/zip", zipped([("old.zip", zipped(named())), *named(MAILS[:1])]))
    assert isinstance(refused, Refused)
    assert "zip file inside" in refused.reason
    assert found == Found("bounces/0.eml", MAILS[0])


@pytest.mark.parametrize("size", [1, 9, 1 << 16])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_an_mbox_without_blank_lines_between_its_mails_is_read(size: int, end: bytes) -> None:
    first = b"From ???@??? Mon Mar  1 09:00:00 2027"
    lines = [
        first,
        b"Subject: one",
        b"",
        b"kim",
        b"From here to Mon Mar  1 it rains",
        first,
        b"Subject: two",
        b"",
        b"kim",
        b"",
    ]
    one, two = taken("application/mbox", end.join(lines), size)
    assert one == Found("mail 1", end.join([*lines[1:5], b""]))
    assert two == Found("mail 2", end.join(lines[6:]))


def test_an_encrypted_entry_is_refused_and_the_others_are_found() -> None:
    raw = bytearray(zipped(named(MAILS[:2])))
    raw[6] |= 1  # the first entry's flags
    refused, found = taken("application/zip", bytes(raw))
    assert isinstance(refused, Refused)
    assert "encrypted" in refused.reason
    assert found == Found("bounces/1.eml", MAILS[1])


def test_sizes_of_eight_bytes_that_the_header_did_not_announce_are_read() -> None:
    file = io.BytesIO()
    file.seek = lambda *_: file.detach()  # type: ignore[method-assign]
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, mail in named():
            with archive.open(name, "w", force_zip64=True) as entry:
                entry.write(mail)
    raw = file.getvalue()
    for name, _ in named():  # without the extra field behind the name, which announces them
        at = raw.index(name.encode())
        raw = raw[: at - 2] + b"\0\0" + name.encode() + raw[at + len(name) + 20 :]
    assert taken("application/zip", raw) == [Found(name, mail) for name, mail in named()]
