"""Mails and replies to measure on, made from the examples of rules: no two are alike."""

from collections.abc import Iterator, Sequence
from itertools import cycle

from services.bounce.domain.rules.rule import Rule

_REPORT = """Return-Path: <>
Received: from mx{n}.relay.example (mx{n}.relay.example [192.0.2.{low}]) by in.shop.example with ESMTPS id {id}
 for <{to}>; Thu, 26 Nov 2026 09:{low:02d}:00 +0000
Date: Thu, 26 Nov 2026 09:{low:02d}:00 +0000
From: MAILER-DAEMON@mx{n}.relay.example (Mail Delivery System)
Subject: Undelivered Mail Returned to Sender
To: {to}
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="{id}/mx{n}.relay.example"
Message-Id: <{id}@mx{n}.relay.example>

This is a MIME-encapsulated message.

--{id}/mx{n}.relay.example
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

This is the mail system at host mx{n}.relay.example.

I'm sorry to have to inform you that your message could not
be delivered to one or more recipients. It's attached below.

<{who}>: host mx.x{n}.example[192.0.2.{low}] said: {text} (in reply to RCPT TO command)

--{id}/mx{n}.relay.example
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; mx{n}.relay.example
X-Postfix-Queue-ID: {id}
X-Postfix-Sender: rfc822; {to}
Arrival-Date: Thu, 26 Nov 2026 08:59:00 +0000 (UTC)

Final-Recipient: rfc822; {who}
Original-Recipient: rfc822;{who}
Action: failed
Status: 5.0.0
Remote-MTA: dns; mx.x{n}.example
Diagnostic-Code: smtp; {text}

--{id}/mx{n}.relay.example
Content-Description: Undelivered Message
Content-Type: message/rfc822

Return-Path: <{to}>
Received: by out.shop.example; Thu, 26 Nov 2026 08:59:00 +0000
Message-ID: <{id}@shop.example>
From: Shop <news@shop.example>
To: {who}
Subject: Your order {n}
MIME-Version: 1.0
Content-Type: text/html; charset=utf-8

{body}

--{id}/mx{n}.relay.example--
"""
_EXIM = """Return-Path: <>
From: Mail Delivery System <Mailer-Daemon@mx{n}.relay.example>
To: {to}
Auto-Submitted: auto-replied
X-Failed-Recipients: {who}
Subject: Mail delivery failed: returning message to sender
Message-Id: <{id}@mx{n}.relay.example>
Date: Thu, 26 Nov 2026 09:{low:02d}:00 +0000

This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  {who}
    host mx.x{n}.example [192.0.2.{low}]
    SMTP error from remote mail server after RCPT TO:<{who}>:
    {text}

------ This is a copy of the message, including all the headers. ------

Return-path: <{to}>
Subject: Your order {n}

{body}
"""
_QMAIL = """Return-Path: <>
From: MAILER-DAEMON@mx{n}.relay.example
To: {to}
Subject: failure notice
Date: Thu, 26 Nov 2026 09:{low:02d}:00 +0000

Hi. This is the qmail-send program at mx{n}.relay.example.
I'm afraid I wasn't able to deliver your message to the following addresses.
This is a permanent error; I've given up. Sorry it didn't work out.

<{who}>:
Remote host said: {text}

--- Below this line is a copy of the message.

Return-Path: <{to}>
Subject: Your order {n}

{body}
"""
_FORMS = (*[_REPORT] * 7, _EXIM, _EXIM, _QMAIL)
_BODY = "<p>Dear customer, your parcel is on its way.</p>\n" * 30
_KIM = "kim@x.example"


def texts_of(rules: Sequence[Rule], count: int) -> list[str]:
    """Return replies, each with its own address and id."""
    return [text for _, text in zip(range(count), _replies(rules), strict=False)]


def mails_of(rules: Sequence[Rule], count: int, to: Sequence[str] = ()) -> list[bytes]:
    """Return whole bounce mails of about 3 kB. `to`: return paths, used in turn."""
    paths, forms = cycle(to or ["b-0@bounces.shop.example"]), cycle(_FORMS)
    mails = []
    for n, text in zip(range(count), _replies(rules), strict=False):
        who = f"kim{n}@x{n % 977}.example"
        values = {"n": n % 97, "low": n % 59, "id": f"{n:010X}", "to": next(paths), "who": who, "body": _BODY}
        mails.append(next(forms).format(text=text, **values).encode())
    return mails


def _replies(rules: Sequence[Rule]) -> Iterator[str]:
    examples = [example["text"] for rule in rules for example in rule.examples]
    for n, text in enumerate(cycle(examples)):
        own = text.replace(_KIM, f"kim{n}@x{n % 977}.example").replace("192.0.2.1", f"192.0.2.{n % 250}")
        yield f"{own} [{n:08x}.mx]"
