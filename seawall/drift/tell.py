"""Who is told: webhook (Slack's JSON), e-mail, syslog. Of every change of state once, of what lasts now and then.

What is owed is worked out from the history (``owed``, pure): a difference came, went, or lasts and its reminder is due.
A channel that fails is owed it still: the next look tries again. Secrets are read from the files that the settings
name, at the last moment, and appear in no message or error.
"""

from __future__ import annotations

import logging
import os
import smtplib
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from logging.handlers import SysLogHandler
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from infra.drift import Drift, Email, Syslog, Webhook
from seawall.drift.history import History, Spell
from seawall.places import CHECKOUT
from seawall.problem import Problem

TIMEOUT = 20.0
"""Seconds for one channel."""

WORDS = {"came": "New", "went": "Gone", "lasts": "Still there"}


@dataclass(frozen=True)
class News:
    """One change of state to tell: ``said`` is came, went or lasts."""

    spell: Spell
    said: str

    def line(self) -> str:
        each = self.spell.difference
        since = f" (since {self.spell.came[:16]} UTC)" if self.said == "lasts" else ""
        subject = "could not be asked: " if each.status == "unknown" and self.said != "went" else ""
        return f"{WORDS[self.said]}{since}: [{each.layer}] {subject}{each.sentence()}"


def owed(
    spells: Iterable[Spell], told: Mapping[int, tuple[str, str]], remind: timedelta, now: datetime
) -> list[News]:
    """What a channel that was ``told`` so much has yet to hear. What came and went unheard is let go."""
    news = []
    for spell in spells:
        said, at = told.get(spell.number, ("", ""))
        if spell.went:
            if said and said != "went":
                news.append(News(spell, "went"))
        elif not said:
            news.append(News(spell, "came"))
        elif now - datetime.fromisoformat(at) >= remind:
            news.append(News(spell, "lasts"))
    return sorted(news, key=lambda each: (list(WORDS).index(each.said), each.spell.number))


@dataclass(frozen=True)
class Message:
    """What is sent: a subject line and a line a change."""

    subject: str
    body: str
    urgent: bool


def message(stack: str, news: list[News]) -> Message:
    counts = [
        f"{sum(n.said == s for n in news)} {WORDS[s].lower()}"
        for s in WORDS
        if any(n.said == s for n in news)
    ]
    host = socket.gethostname()
    body = "\n".join(
        [*(f"• {each.line()}" for each in news), f"Looked from {host}. `seawall drift` says what to do."]
    )
    return Message(
        f"Seawall drift, {stack}: {', '.join(counts)}", body, any(each.said != "went" for each in news)
    )


Channel = Callable[[Message], None]


def channels(settings: Drift, base: Path = CHECKOUT) -> dict[str, Channel]:
    """The channels that the settings name, ready to send."""
    tell = settings.tell
    found: dict[str, Channel] = {}
    if tell.webhook:
        found["webhook"] = lambda told, to=tell.webhook: _webhook(to, told, base)  # type: ignore[misc]
    if tell.email:
        found["e-mail"] = lambda told, to=tell.email: _email(to, told, base)  # type: ignore[misc]
    if tell.syslog:
        found["syslog"] = lambda told, to=tell.syslog: _syslog(to, told)  # type: ignore[misc]
    return found


def tell(history: History, stack: str, settings: Drift, now: datetime | None = None) -> list[str]:
    """Tell every channel what it is owed; what went wrong, a sentence each. One failing channel stops no other."""
    spells, failed, now = history.spells(stack), [], now or datetime.now(UTC)
    for name, send in channels(settings).items():
        news = owed(
            spells,
            history.told(name),
            timedelta(hours=settings.remind_hours),
            now,
        )
        if not news:
            continue
        try:
            send(message(stack, news))
        except Problem as problem:
            failed.append(str(problem))
        else:
            history.tell(name, [(each.spell.number, each.said) for each in news], now)
    return failed


def secret(path: Path, base: Path = CHECKOUT) -> str:
    """A secret's text, from a file that only its owner can read."""
    path = path.expanduser()
    path = path if path.is_absolute() else base / path
    handed = Path(os.environ.get("CREDENTIALS_DIRECTORY", "/nonexistent")) / path.name  # LoadCredential=
    try:
        if handed.exists():
            path = handed  # systemd guards it, and its mode shows an access list's mask
        elif path.stat().st_mode & 0o077:
            raise Problem(f"{path} can be read by others, and it holds a secret. Run `chmod 600 {path}`.")
        text = path.read_text().strip()
    except OSError as error:
        raise Problem(
            f"{path} cannot be read ({error.strerror}); seawall:drift.tell names it. Put the secret there, mode 0600."
        ) from None
    if not text or "\n" in text:
        raise Problem(f"{path} does not hold one line with a secret. Put it there, and nothing else.")
    return text


def _webhook(to: Webhook, told: Message, base: Path) -> None:
    url = secret(to.url_file, base)
    try:
        there = urlsplit(url)
    except ValueError:
        there = urlsplit("")
    if there.scheme != "https" and there.hostname not in ("127.0.0.1", "localhost", "::1"):
        raise Problem(
            f"{to.url_file} does not hold an https:// address. A webhook's address is a secret: use TLS."
        )
    try:
        answer = httpx.post(url, json={"text": f"*{told.subject}*\n{told.body}"}, timeout=TIMEOUT)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        # An error's text may hold the address, which is the secret.
        raise Problem(
            f"The webhook was not reached ({type(error).__name__}). It is tried again next time."
        ) from None
    if answer.is_error or answer.is_redirect:
        raise Problem(
            f"The webhook answered {answer.status_code}. Look at {to.url_file}; it is tried again next time."
        )


def _email(to: Email, told: Message, base: Path) -> None:
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = told.subject, to.sender, ", ".join(to.to)
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday notice answers it
    mail.set_content(told.body)
    try:
        with smtplib.SMTP(to.host, to.port, timeout=TIMEOUT) as smtp:
            if to.starttls:
                smtp.starttls(context=ssl.create_default_context())
            if to.password_file:
                smtp.login(to.user, secret(to.password_file, base))
            refused = smtp.send_message(mail)
    except (smtplib.SMTPException, OSError) as error:
        code = getattr(error, "smtp_code", "")
        raise Problem(
            f"The mail to {mail['To']} by {to.host}:{to.port} was not sent ({type(error).__name__}"
            f"{f' {code}' if code else ''}). It is tried again next time."
        ) from None
    if refused:
        raise Problem(
            f"{to.host} took the mail, but not for {', '.join(refused)}. Look at seawall:drift.tell.email."
        )


def _syslog(to: Syslog, told: Message) -> None:
    """One record a line. Facility authpriv: what the collector keeps longest."""
    address: str | tuple[str, int] = (to.host, to.port) if to.host else to.path
    kind = socket.SOCK_DGRAM if to.host and to.protocol == "udp" else socket.SOCK_STREAM if to.host else None
    try:
        handler = _Raising(address, SysLogHandler.LOG_AUTHPRIV, kind)
    except OSError as error:
        raise Problem(
            f"Syslog at {to.path if not to.host else f'{to.host}:{to.port}'} was not reached ({error.strerror}). It is "
            "tried again next time."
        ) from None
    handler.ident = "seawall-drift: "
    if to.host and to.protocol == "tcp":
        handler.append_nul, handler.ident = False, "seawall-drift: "
    level = logging.WARNING if told.urgent else logging.INFO
    try:
        for line in [told.subject, *told.body.splitlines()]:
            end = "\n" if to.host and to.protocol == "tcp" else ""  # RFC 6587, 3.4.2
            handler.emit(logging.LogRecord("seawall", level, "", 0, line + end, None, None))
    except OSError as error:
        raise Problem(f"Syslog did not take it ({error.strerror}). It is tried again next time.") from None
    finally:
        handler.close()


class _Raising(SysLogHandler):
    """A handler that says so when it could not write."""

    def handleError(self, record: logging.LogRecord) -> None:
        raise
