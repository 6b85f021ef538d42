"""The rules of deliveries: their recipients and texts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum

from babel import Locale, dates, numbers

from po_api.core.errors import FieldError
from po_api.core.parties import Language
from po_api.deliveries.errors import NoRecipient, TooManyRecipients, UnknownRecipient
from po_api.organisations.mail_templates import Placeholder, filled
from po_api.purchase_orders.events import DeliveryRequest

MAX_RECIPIENTS = 10


class Channel(StrEnum):
    """How an order reaches the supplier: by a mail of this application, or as a member has recorded."""

    EMAIL = "email"
    MANUAL = "manual"


class DeliveryStatus(StrEnum):
    """The status of a delivery. `sent`: the next server has accepted the mail; no more is known of it.

    A delivery that is `sending` is in an attempt; one that is `held` waits for a member to retry it.
    """

    QUEUED = "queued"
    HELD = "held"
    SENDING = "sending"
    SENT = "sent"
    BOUNCED = "bounced"
    FAILED = "failed"
    CANCELLED = "cancelled"


RETRYABLE = frozenset({DeliveryStatus.FAILED, DeliveryStatus.BOUNCED, DeliveryStatus.HELD})


@dataclass(frozen=True)
class Contact:
    """An active contact of a supplier for orders."""

    id: int
    email: str


@dataclass(frozen=True)
class Recipients:
    """The addresses of a mail, each once."""

    to: Sequence[str]
    cc: Sequence[str]


def recipients_of(
    request: DeliveryRequest, contacts: Sequence[Contact], snapshot: str | None, *, allows_others: bool
) -> Recipients:
    """The recipients of a mail: the contacts and addresses that the request names, or all contacts, or the address
    in the order's supplier snapshot.

    Other addresses than these are refused unless the organisation `allows_others`. Raises UnknownRecipient,
    TooManyRecipients or NoRecipient.
    """
    by_id = {contact.id: contact.email for contact in contacts}
    known = {*by_id.values(), *([snapshot] if snapshot else [])}
    problems = [
        _unknown(f"{request.pointer}/contact_ids/{index}")
        for index, contact_id in enumerate(request.contact_ids)
        if contact_id not in by_id
    ]
    if not allows_others:
        problems += [
            _unknown(f"{request.pointer}/{name}/{index}")
            for name, addresses in (("to", request.to), ("cc", request.cc))
            for index, address in enumerate(addresses)
            if address not in known
        ]
    if problems:
        raise UnknownRecipient(errors=tuple(problems))
    named = [*(by_id[contact_id] for contact_id in request.contact_ids), *request.to]
    to = _distinct(named or by_id.values() or ([snapshot] if snapshot else []))
    if not to:
        raise NoRecipient
    cc = [address for address in _distinct(request.cc) if address not in to]
    if len(to) + len(cc) > MAX_RECIPIENTS:
        raise TooManyRecipients
    return Recipients(to, cc)


def _unknown(pointer: str) -> FieldError:
    return FieldError(pointer, UnknownRecipient.code, UnknownRecipient.title)


def _distinct(addresses: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(addresses))


@dataclass(frozen=True)
class OrderFacts:
    """What the texts of a mail say about an order; `total` is in its currency, with the decimals of that."""

    number: str
    revision: int
    supplier: str
    total: Decimal
    currency: str
    needed_by: date | None


def subject_of(template: str, order: OrderFacts, locale: Language) -> str:
    """The subject, in one line."""
    return " ".join(filled(template, _values(order, locale)).split()) or order.number


def body_of(template: str, order: OrderFacts, locale: Language, *, message: str | None) -> str:
    """The body, in which the placeholder of the link stays; `message` comes first."""
    text = filled(template, _values(order, locale))
    return text if message is None else f"{message}\n\n{text}"


def with_link(body: str, link: str | None) -> str:
    """The body with the address at which the supplier reads the order; without one, its line is left out."""
    return filled(body, {Placeholder.LINK: link})


def has_link(body: str) -> bool:
    """Whether the body names the address at which the supplier reads the order."""
    return f"{{{Placeholder.LINK}}}" in body


def _values(order: OrderFacts, locale: Language) -> Mapping[Placeholder, str | None]:
    day, region = order.needed_by, _REGIONS.get(locale, locale)
    return {
        Placeholder.NUMBER: order.number,
        Placeholder.REVISION: str(order.revision),
        Placeholder.SUPPLIER: order.supplier,
        Placeholder.TOTAL: _total(order, Locale.parse(region)),
        Placeholder.NEEDED_BY: None if day is None else dates.format_date(day, "long", locale=region),
    }


def _total(order: OrderFacts, locale: Locale) -> str:
    """The total with all of its decimals: for some currencies, CLDR has fewer than ISO 4217, and would round."""
    _, _, decimals = f"{order.total:f}".partition(".")
    digits = f".{'0' * len(decimals)}" if decimals else ""
    pattern = locale.currency_formats["standard"].pattern.replace(".00", digits)
    return numbers.format_currency(order.total, order.currency, pattern, locale=locale, currency_digits=False)


# Dates as the documents have them: 6 May 2031.
_REGIONS = {Language.ENGLISH: "en_GB"}
