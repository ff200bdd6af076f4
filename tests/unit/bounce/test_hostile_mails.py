"""Any mail is read in bounded time and memory, and nothing ever raises."""

import base64
import os
import resource
import sys
import time
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.bounce.domain.categories import CATEGORIES
from services.bounce.domain.facts import about_others, facts_of, judge
from services.bounce.domain.mime import MAX_BYTES, MAX_PARTS
from services.bounce.domain.reading import MAX_RETURNED, Mail
from services.bounce.domain.reports import Report, read_mail, read_mails
from tests.compiled import compiled_rules as rules
from tests.unit.bounce.test_odd_mails import DRESSES
from tests.unit.bounce.test_reports import HOSTILE, OURS, dsn, recipient
from tests.unit.bounce.test_told import ALONE, FORMS, mail

MAILS = [dsn(recipient()), dsn(recipient(), recipient("b@x.example")), *(mail(body) for body in FORMS.values())]
MAILS += [mail(body) for body, _ in ALONE.values()]
MAILS += DRESSES.values()
MEGABYTE = 1024 * 1024
LONGEST_SECONDS = 0.5  # a mail may cost 50 ms; machines that run tests are busy
MOST_WORK = 200_000  # calls and returns of Python functions


def verdict(raw: bytes) -> str:
    report = read_mail(raw)
    fact = judge(report, rules())
    about_others(report, rules(), lambda address: False)
    fact.template.encode()
    return fact.category


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A real form, truncated, doubled, overwritten or with shuffled lines."""
    raw = draw(st.sampled_from(MAILS))
    for _ in range(draw(st.integers(0, 4))):
        begin = draw(st.integers(0, len(raw)))
        end = draw(st.integers(begin, min(len(raw), begin + 400)))
        piece = draw(
            st.one_of(st.binary(max_size=30), st.just(raw[begin:end] * 3), st.just(b"\n\n"), st.just(b"--=b\n"))
        )
        raw = raw[:begin] + piece + raw[end:]
    return raw


@settings(max_examples=400, suppress_health_check=list(HealthCheck))
@given(raw=mutated())
def test_mutated_mails_are_read(raw: bytes) -> None:
    assert verdict(raw) in CATEGORIES


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(raws=st.lists(mutated(), max_size=12))
def test_a_batch_of_mails_reads_like_each_alone(raws: list[bytes]) -> None:
    def ours(address: str) -> bool:
        return address == OURS

    together = read_mails(raws)

    assert [fields_of(report) for report in together] == [fields_of(read_mail(raw)) for raw in raws]
    assert facts_of([(report, ours) for report in together], rules()) == [
        judge(read_mail(raw), rules(), ours) for raw in raws
    ]


def fields_of(report: Report) -> tuple[object, ...]:
    told = [(one.address, one.text) for one in report.sentences.told]
    return report.kind, report.recipients, report.feedback.items, report.text, told, report.candidates


@settings(max_examples=150)
@given(raw=st.binary(max_size=2_000))
def test_random_bytes_are_read(raw: bytes) -> None:
    assert verdict(raw) in CATEGORIES


MIXED = b"Content-Type: multipart/mixed; boundary=q\n\n"
NESTED = b"--b%d\nContent-Type: multipart/mixed; boundary=b%d\n\n"
BASE64 = b"From: mailer-daemon@x\nContent-Type: text/plain\nContent-Transfer-Encoding: base64\n\n"
SILENT = [recipient(f"u{n}@x.example", status="5.0.0", diagnostic=None) for n in range(6_000)]

LONG = {
    "15 MB": dsn(recipient(), returned="Subject: x\n" + "x" * 76 * 1 + "\n") + b"y" * 15 * MEGABYTE,
    "15 MB of text": b"From: postmaster@x\nSubject: undeliverable\n\n" + b"<kim@x.example>: user \n" * 600_000,
    "a reply of 24 kB": mail("550 " + "mailbox user account " * 1_200 + "not full"),
    "openings": mail("".join(f"<u{n}@x.example>:\n550 no\n" for n in range(20_000))),
    "one address again and again": mail("<kim@x.example>\n" * 20_000),
    "at signs": mail("@" * 200_000),
    "angle brackets": mail("<" * 100_000, head="Content-Type: text/html\n"),
    "styles": mail("<style " * 50_000, head="Content-Type: text/html\n"),
    "prose": mail("The response was: " * 20_000),
    "dots": mail("a." * 100_000 + "@x.example"),
    "hosts": mail("host " * 50_000 + "["),
    "codes": mail("550-" * 50_000),
    "types": b"Content-Type: multipart/mixed; boundary=q\n\n" + b"Content-Type: message/rfc822;\n" * 20_000,
    "boundaries": b"Content-Type: multipart/mixed; boundary=q\n\n" + b"\n--q\n\nmessage/rfc822\n" * 20_000,
    "parts": MIXED + b"--q\n\nx\n" * 100_000,
    "parts in parts": MIXED + b"".join(NESTED % (n, n + 1) for n in range(10_000)),
    "parts in parts of one name": MIXED + b"--q\nContent-Type: multipart/mixed; boundary=q\n\n" * 20_000,
    "mails in mails": b"From: a\n" + b"Content-Type: message/rfc822\n\n" * 20_000,
    "status parts": MIXED + b"--q\nContent-Type: message/delivery-status\n\nFinal-Recipient: rfc822; a@b\n" * 8_000,
    "encoded words in a subject": b"From: mailer-daemon@x\nSubject: " + b"=?utf-8?q?=41?= " * 30_000 + b"\n\nx",
    "an encoded word without end": b"From: =?utf-8?q?" + b"=?" * 30_000 + b"\n\nx",
    "parameters": b"Content-Type: text/plain" + b';a="\\' * 60_000 + b"\n\nx",
    "a header of half a megabyte": b"Subject: " + b"a" * 500_000 + b"\n\nx",
    "6,000 recipients": dsn(*SILENT, human="".join(f"<u{n}@x.example>: hm\n" for n in range(6_000))),
    "100 recipients and many words": dsn(*SILENT[:100], human="so it is " * 1_000),
    "From lines": b"From x\n" * 70_000,
    "blank lines": MIXED + b"\n" * 500_000,
    "CRs": b"\r" * 500_000,
    "NULs": bytes(500_000),
    "8-bit rubbish": bytes(range(256)) * 2_000,
    "UTF-16": ("From: mailer-daemon@x\n\n550 user unknown " * 20_000).encode("utf-16"),
    "base64": BASE64 + base64.encodebytes(b"user unknown " * 400_000),
    "a reply against backtracking": mail("550 " + ("a" * 64 + "@") * 370 + "!"),
    "names of files": b"Return-Path: <a@b>\nFrom: a@b\n\n" + b"name=" * 50_000 + b"!",
    "headers in a text": MIXED + b"--q\nContent-Type: text/plain\n\nx\n" * 2 + b"a: b\n" * 50_000,
    "lines of one reply": MIXED
    + b"--q\nContent-Type: message/delivery-status\n\nStatus: 5.1.1\n"
    + b"550-x\n" * 30_000,
    "boundaries that begin alike": MIXED + b"--q\nContent-Type: message/rfc822\n\n" + b"\n--qa" * 40_000,
    "successes": mail("<kim@x.example>: " + "250 2.1.0 " * 25_000),
    "quotes": mail("no\n" + "> y\n" * 50_000),
    "entities": mail("&#x41;" * 90_000, head="Content-Type: text/html\n"),
}


@pytest.mark.parametrize("name", [*HOSTILE, *LONG])
def test_a_mail_costs_little(name: str) -> None:
    raw = (HOSTILE | LONG)[name]
    rules()
    started = time.process_time()
    verdict(raw)
    assert time.process_time() - started < LONGEST_SECONDS


@pytest.mark.parametrize("name", LONG)
def test_a_mail_takes_little_memory(name: str) -> None:
    rules()
    tracemalloc.start()
    verdict(LONG[name])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * MEGABYTE


@pytest.mark.parametrize("name", [*HOSTILE, *LONG])
def test_a_mail_costs_a_bounded_number_of_calls(name: str) -> None:
    """Counted, not timed: a quadratic pass over half a megabyte would take billions."""
    verdict((HOSTILE | LONG)[name])  # what is compiled and cached once
    steps = 0

    def count(*_: object) -> None:
        nonlocal steps
        steps += 1

    sys.setprofile(count)
    try:
        verdict((HOSTILE | LONG)[name])
    finally:
        sys.setprofile(None)
    assert steps < MOST_WORK
    mail_read = Mail((HOSTILE | LONG)[name])
    assert len(mail_read.raw) <= MAX_BYTES
    assert len(mail_read.parts) <= MAX_PARTS
    assert len(mail_read.returned) <= MAX_RETURNED


def test_all_mails_in_sequence_need_little_cpu_and_memory() -> None:
    """In a process of its own, measured by the kernel, so that C and Rust code count too."""
    rules()
    child = os.fork()
    if child == 0:
        before = resource.getrusage(resource.RUSAGE_SELF)
        peaks = [verdict(raw) for raw in (HOSTILE | LONG).values()]
        after = resource.getrusage(resource.RUSAGE_SELF)
        grown = (after.ru_maxrss - before.ru_maxrss) / 1024
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        os._exit(0 if grown < 64 and spent < LONGEST_SECONDS * len(peaks) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
