"""The texts of a purchase order's PDF, in the words of its language; the template lays them out.

An issued order keeps its sheet, so that its document does not depend on what changes afterwards: the organisation,
names of members, the labels, or this module. Nothing is rounded here.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from po_api.core.currencies import minor_units
from po_api.core.offload import offload
from po_api.core.parties import Language
from po_api.purchase_orders.documents import DocumentLine, Party, PurchaseOrderDocument, Source, document_of
from po_api.purchase_orders.locales import Wording, wording_of

# Columns that are as wide as their longest text; the description takes the remaining width.
_NARROW = ("position", "quantity", "unit", "unit_price", "discount", "tax_rate", "net")

# Han characters have national variants; the currency is the best hint at the expected one.
_HAN_SHAPES = {"JPY": "JP", "KRW": "KR", "TWD": "TC", "HKD": "HK"}

# What the template keeps on one page with what follows it, in characters and lines.
_LONGEST_KEPT = 400
_MOST_KEPT_LINES = 8
_SENTENCE_ENDS = re.compile(r"(?<=[.!?…。！？؟।])\s+")


@dataclass(frozen=True)
class Mark:
    """What is written across every page of a document that is not valid: a word, and a sentence on the first page.

    `day` is the date of the PDF.
    """

    word: str
    sentence: str
    day: date


def cancelled_mark(moment: datetime, timezone: str, language: Language = Language.ENGLISH) -> Mark:
    """The mark of an order that was cancelled at that time."""
    day, wording = moment.astimezone(ZoneInfo(timezone)).date(), wording_of(language)
    labels = wording.labels
    return Mark(labels.cancelled, labels.cancelled_on.format(date=wording.date(day)), day)


def draft_mark(moment: datetime, timezone: str, language: Language = Language.ENGLISH) -> Mark:
    """The mark of a draft."""
    labels = wording_of(language).labels
    return Mark(labels.draft_mark, labels.no_order, moment.astimezone(ZoneInfo(timezone)).date())


async def sheet_of(source: Source, issued_at: datetime | None, language: Language) -> str:
    """The sheet of `document_of` these rows; outside of the event loop if there are many lines."""

    def made() -> str:
        return sheet(document_of(source, issued_at, language))

    return await offload(len(source.lines), made)


def sheet(document: PurchaseOrderDocument) -> str:
    """The printed texts as a JSON object, in the form that the template reads.

    Takes some 20 ms of CPU time for 1,000 lines.
    """
    return json.dumps(_data(document, wording_of(document.letterhead.language)), ensure_ascii=False)


def printed(sheet: str, *, number: str | None, mark: Mark | None = None) -> bytes:
    """The input of the template, without the logo: a sheet with the order's number, and the mark, if there is one."""
    marked = mark and {"word": mark.word, "sentence": mark.sentence, "day": mark.day.isoformat()}
    head = json.dumps({"number": number, "mark": marked}, ensure_ascii=False)
    return f"{head[:-1]}, {sheet[1:]}".encode()


def _data(document: PurchaseOrderDocument, wording: Wording) -> dict[str, object]:
    """The printed texts; None for parts that are left out."""
    digits, letterhead = minor_units(document.currency), document.letterhead
    shows_cost_centres = len({line.cost_centre for line in document.lines}) > 1
    lines = [_line(line, digits, wording, shows_cost_centre=shows_cost_centres) for line in document.lines]
    terms = _paragraphs(document.terms or "")
    closing = _kept(terms)
    return {
        "language": letterhead.language,
        "paper": "us-letter" if letterhead.paper == "letter" else letterhead.paper,
        "accent_colour": letterhead.accent_colour,
        "footer_lines": [text for line in letterhead.footer_lines if (text := _text(line))],
        "labels": _labels(document, wording),
        "issued_on": document.issued_on and document.issued_on.isoformat(),
        "revision": str(document.revision),
        "currency": document.currency,
        "cjk": _HAN_SHAPES.get(document.currency, "SC"),
        "buyer": _party(document.buyer, wording),
        "supplier": _party(document.supplier, wording),
        "facts": _facts(document, wording),
        "lines": lines,
        "last_line": _kept_description(lines),
        "widest": {column: max((line[column] or "" for line in lines), key=len, default="") for column in _NARROW},
        "totals": _totals(document, digits, wording),
        "terms": terms,
        "closing": closing,
        "delivery_address": _text(document.delivery_address),
        "invoice_address": _text(document.invoice_address),
        "prepared_by": _text(document.prepared_by),
    }


def _labels(document: PurchaseOrderDocument, wording: Wording) -> Mapping[str, str]:
    """The words that the template prints."""
    labels = wording.labels
    names = (
        *("title", "draft", "page", "supplier", "buyer", "deliver_to", "invoice_to", "position", "description"),
        *("quantity", "unit_price", "discount", "tax", "terms", "authorised_for", "accepted_for", "signature"),
    )
    footer = labels.footer.replace("{revision}", str(document.revision))
    return {
        **{name: getattr(labels, name) for name in names},
        "footer": footer,
        "net": labels.net_total,
        "net_column": f"{labels.net} {document.currency}",
        "total": f"{labels.total} {document.currency}",
    }


def _party(party: Party, wording: Wording) -> dict[str, object]:
    labels = wording.labels
    tax_id = f"{labels.tax_id} {party.tax_id}" if party.tax_id else None
    if party.vat_id:
        tax_id = f"{labels.vat_id} {party.vat_id}"
    company_id = f"{labels.company_id} {party.company_id}" if party.company_id else None
    phone = f"{labels.phone} {party.phone}" if party.phone else None
    details = (_text(party.address), tax_id, company_id, _text(party.contact), party.email, phone)
    return {"name": party.name, "details": [detail for detail in details if detail]}


def _facts(document: PurchaseOrderDocument, wording: Wording) -> list[tuple[str, str]]:
    labels = wording.labels
    facts = [(labels.date, wording.date(document.issued_on))] if document.issued_on else []
    facts += [(labels.revision, str(document.revision)), (labels.currency, wording.currency(document.currency))]
    if document.delivery_date:
        facts.append((labels.delivery_date, wording.date(document.delivery_date)))
    for (one, several), values in ((labels.request, document.requests), (labels.cost_centre, document.cost_centres)):
        if values:
            facts.append((one if len(values) == 1 else several, ", ".join(values)))
    others = (
        (labels.payment, document.payment_terms),
        (labels.incoterms, document.incoterms),
        (labels.buyer_reference, document.buyer_reference),
        (labels.prepared_by, document.prepared_by),
        (labels.approved_by, "\n".join(_approval(name, day, wording) for name, day in document.approved_by)),
    )
    return facts + [(label, text) for label, value in others if (text := _text(value))]


def _approval(name: str, day: date, wording: Wording) -> str:
    unbroken = wording.short_date(day).replace(" ", "\xa0")
    return f"{name}, {unbroken}"


def _line(line: DocumentLine, digits: int, wording: Wording, *, shows_cost_centre: bool) -> dict[str, str | None]:
    """A line's cells; a unit price may have more decimals than the currency, a quantity has as many as it needs.

    The cost centre is shown where the lines of the order differ in it.
    """
    labels = wording.labels
    details = (
        f"{labels.sku} {line.sku}" if line.sku else None,
        f"{labels.needed_by} {wording.date(line.needed_by)}" if line.needed_by else None,
        f"{labels.cost_centre[0]} {line.cost_centre}" if line.cost_centre and shows_cost_centre else None,
    )
    return {
        "position": str(line.position),
        "description": _text(line.description) or "",
        "details": " · ".join(detail for detail in details if detail),
        "quantity": wording.decimal(line.quantity),
        "unit": wording.unit(line.unit, line.quantity),
        "unit_price": wording.decimal(line.unit_price, digits),
        "discount": wording.percentage(line.discount_percent) if line.discount_percent else None,
        "tax_rate": wording.percentage(line.tax_rate),
        "net": wording.decimal(line.net, digits),
    }


def _totals(document: PurchaseOrderDocument, digits: int, wording: Wording) -> dict[str, object]:
    """Net, the taxes by rate, and the total. What is taxed at 0 is listed by category, as its tax is 0 in each."""
    untaxed = _untaxed(document.lines)
    rows: list[tuple[Decimal, str | None, Decimal, Decimal]] = []
    for tax in document.totals.taxes:
        if tax.rate:
            rows.append((tax.rate, None, tax.net, tax.tax))
        else:
            rows += [(tax.rate, wording.labels.categories.get(name), net, tax.tax) for name, net, _ in untaxed]
    return {
        "net": wording.decimal(document.totals.net, digits),
        "taxes": [
            {
                "rate": wording.percentage(rate),
                "category": category,
                "net": f"{wording.labels.tax_on} {wording.decimal(net, digits)}",
                "tax": wording.decimal(tax, digits),
            }
            for rate, category, net, tax in rows
        ],
        "total": wording.decimal(document.totals.total, digits),
        "reasons": [
            wording.labels.reason.format(category=wording.labels.categories[name], reason=reason)
            for name, _, reasons in untaxed
            for reason in reasons
        ],
    }


def _untaxed(lines: Iterable[DocumentLine]) -> Sequence[tuple[str, Decimal, Sequence[str]]]:
    """The categories of the lines with a rate of 0, each with their net and the reasons of the exemption; the category
    of lines without one is empty."""
    found: dict[str, tuple[Decimal, list[str]]] = {}
    for line in lines:
        if not line.tax_rate:
            net, reasons = found.get(line.tax_category or "", (Decimal(0), []))
            if line.tax_exemption_reason and line.tax_exemption_reason not in reasons:
                reasons.append(line.tax_exemption_reason)
            found[line.tax_category or ""] = (net + line.net, reasons)
    return [(name, net, reasons) for name, (net, reasons) in sorted(found.items())]


def _text(value: str | None) -> str | None:
    """`value` with one kind of line break and no tabs, which fonts have no glyph for; None if it is empty."""
    return "\n".join((value or "").expandtabs(4).splitlines()).strip() or None


def _paragraphs(value: str) -> list[str]:
    """The parts of `value` between empty lines."""
    return [text for part in re.split(r"\n\s*\n", _text(value) or "") if (text := part.strip())]


def _kept(paragraphs: list[str]) -> list[str] | None:
    """Take from the paragraphs what stands on one page with the signatures: all, or the end of the last one; None if
    there is no paragraph."""
    if not paragraphs:
        return None
    if _is_kept("\n\n".join(paragraphs)):
        kept = paragraphs[:]
        paragraphs.clear()
        return kept
    rest, end = _ending(paragraphs.pop())
    if rest:
        paragraphs.append(rest)
    return [end]


def _kept_description(lines: Sequence[dict[str, str | None]]) -> str | None:
    """Take from a long last line what stands on one page with the totals; None if it is short."""
    if not lines:
        return None
    rest, end = _ending(lines[-1]["description"] or "")
    lines[-1]["description"] = rest or end
    return end if rest else None


def _is_kept(text: str) -> bool:
    return len(text) <= _LONGEST_KEPT and text.count("\n") < _MOST_KEPT_LINES


def _ending(text: str) -> tuple[str, str]:
    """The text without its last lines or sentences, and these; all of a short text."""
    if _is_kept(text):
        return "", text
    lines = text.rsplit("\n", _MOST_KEPT_LINES - 1)
    start = len(lines[0]) + 1 if len(lines) == _MOST_KEPT_LINES else 0
    start = max(start, len(text) - _LONGEST_KEPT)
    for pattern in (re.compile(r"\n"), _SENTENCE_ENDS, re.compile(r"\s+")):
        if (found := pattern.search(text, start - 1 if text[start - 1] == "\n" else start)) and found.end() < len(text):
            return text[: found.start()].rstrip(), text[found.end() :].lstrip()
    return text[:start], text[start:]
