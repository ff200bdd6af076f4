"""Whatever comes is read in bounded time and memory, and nothing ever raises."""

import time
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.bounce.domain.categories import CATEGORIES
from services.bounce.domain.facts import about_others, judge
from services.bounce.domain.reports import read_mail
from tests.unit.bounce.shipped import rules
from tests.unit.bounce.test_reports import HOSTILE, dsn, recipient
from tests.unit.bounce.test_told import ALONE, FORMS, mail

MAILS = [dsn(recipient()), dsn(recipient(), recipient("b@x.example")), *(mail(body) for body in FORMS.values())]
MAILS += [mail(body) for body, _ in ALONE.values()]
MEGABYTE = 1024 * 1024
LONGEST_SECONDS = 0.5  # 50 ms is what a mail may cost; machines that run tests are busy


def verdict(raw: bytes) -> str:
    report = read_mail(raw)
    fact = judge(report, rules())
    about_others(report, rules(), lambda address: False)
    fact.template.encode()
    return fact.category


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A real form, cut, doubled, overwritten or with its lines in another order."""
    raw = draw(st.sampled_from(MAILS))
    for _ in range(draw(st.integers(0, 4))):
        begin = draw(st.integers(0, len(raw)))
        end = draw(st.integers(begin, min(len(raw), begin + 400)))
        piece = draw(
            st.one_of(st.binary(max_size=30), st.just(raw[begin:end] * 3), st.just(b"\n\n"), st.just(b"--=b\n"))
        )
        raw = raw[:begin] + piece + raw[end:]
    return raw


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(raw=mutated())
def test_mutated_mails_are_read(raw: bytes) -> None:
    assert verdict(raw) in CATEGORIES


@settings(max_examples=150, deadline=None)
@given(raw=st.binary(max_size=2_000))
def test_rubbish_is_read(raw: bytes) -> None:
    assert verdict(raw) in CATEGORIES


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
