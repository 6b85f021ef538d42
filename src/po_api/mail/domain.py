"""The rules of mail: how often it is attempted, why it is not sent, and the addresses in it."""

import re
import secrets
from datetime import datetime, timedelta
from enum import StrEnum

from po_api.core.domains import a_label

# The delays after the first, second … failed attempt; the last one is repeated until there were ATTEMPTS.
DELAYS = (*(timedelta(minutes=minutes) for minutes in (1, 5, 25, 125)), timedelta(hours=6))
ATTEMPTS = 12


class MailProblem(StrEnum):
    """Why a mail could not be handed over."""

    REFUSED = "mail_refused"
    RECIPIENTS_REFUSED = "recipients_refused"
    DEFERRED = "mail_deferred"
    UNAVAILABLE = "mail_server_unavailable"
    STARTTLS_FAILED = "starttls_failed"
    CREDENTIALS_REFUSED = "mail_credentials_refused"
    NOT_CONFIGURED = "mail_not_configured"
    NOT_ALLOWED = "mail_not_allowed"
    DIRECTORY = "mail_directory"
    ORDER_NOT_DELIVERABLE = "order_not_deliverable"


class NotSent(Exception):
    """A mail was not handed over. `is_final`: it would not be at another attempt; `detail` is for people."""

    def __init__(self, problem: MailProblem, detail: str | None = None, *, is_final: bool = False) -> None:
        super().__init__(problem)
        self.problem = problem
        self.detail = detail
        self.is_final = is_final


def delay_after(attempts: int) -> timedelta:
    """The time from a failed attempt to the next one; `attempts` includes the failed one."""
    return DELAYS[min(attempts, len(DELAYS)) - 1]


_ADDRESS = re.compile(r"(.+)@([^@]+)")


def new_message_id(sender: str) -> str:
    """The Message-ID of a new mail without brackets: 128 random bits at the sender's domain."""
    return f"{secrets.token_hex(16)}@{_parts(sender)[1]}"


def envelope_sender(sender: str, message_id: str) -> str:
    """The address that a bounce of the mail goes to: it names the mail, so that a bounce can be told from others'."""
    local, domain = _parts(sender)
    return f"{local}+{message_id.partition('@')[0]}@{domain}"


def wire_address(address: str) -> str:
    """An address as servers compare it: with an ASCII domain."""
    local, domain = _parts(address)
    return f"{local}@{domain}"


def _parts(address: str) -> tuple[str, str]:
    found = _ADDRESS.fullmatch(address)
    assert found is not None
    return found[1], a_label(found[2])


def seconds_until_midnight(now: datetime) -> int:
    """The seconds until the next day (UTC) begins."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    return int((midnight - now).total_seconds()) + 1
