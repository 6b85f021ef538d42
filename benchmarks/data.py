"""The requests of the data set, their lines, decisions, orders and history, as lines of COPY.

All of it follows from the seed. Lines come from a stock of ready-made bodies per currency, so that a million requests
take no longer than their COPY; the totals of a body are computed once, by `core.money`.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from random import Random
from typing import Any

from benchmarks.companies import (
    Company,
    find_people,
    found_companies,
    member_rows,
    organisation_rows,
    series_rows,
    supplier_name,
    supplier_rows,
    user_rows,
)
from benchmarks.texts import Language, some_language
from po_api.core.currencies import minor_units
from po_api.core.money import PricedLine, TaxRounding, Totals, line_net, totals
from po_api.core.records import extract, field_names
from po_api.organisations.domain import DocumentType, format_number, period_of
from po_api.porfs.content import ApprovedLine, PorfContent, content_hash

# In the order in which rows may refer to each other.
COLUMNS = {
    "organisations": "id name timezone currency tax_rounding over_order_percent created_at updated_at",
    "users": "id email name organisation_id created_at updated_at",
    "members": "organisation_id user_id email name roles approval_limit joined_at created_at updated_at",
    "suppliers": "organisation_id id name name_key email is_active created_at updated_at",
    "porfs": """organisation_id id number title justification cost_centre needed_by currency tax_rounding net tax total
        status requester_id supplier_id submitted_at decided_at version created_at updated_at over_order_percent
        maximum_total""",
    "porf_lines": """organisation_id id porf_id position description sku quantity unit unit_price discount_percent
        tax_rate needed_by net over_order_percent closed_quantity ordered_quantity created_at updated_at""",
    "approval_decisions": "organisation_id id porf_id round approver_id decision comment content_hash decided_at",
    "purchase_orders": """organisation_id id number status supplier_id supplier_name created_by_id currency tax_rounding
        net tax total issued_at version created_at updated_at""",
    "purchase_order_lines": """organisation_id id purchase_order_id position description sku quantity unit unit_price
        discount_percent tax_rate needed_by net""",
    "allocations": "organisation_id id purchase_order_line_id porf_line_id quantity",
    "purchase_order_files": "organisation_id id purchase_order_id revision content digest created_at",
    "audit_events": "organisation_id id actor_id action entity entity_id before after request_id created_at",
    "number_series": "organisation_id document_type period next_value",
}
Batch = Mapping[str, Sequence[str]]

START, END = datetime(2023, 7, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC)
NULL = "\\N"
BODIES = 300
MAX_LINES = 40
BATCH = 10_000
_UNITS = ("C62", "C62", "C62", "KGM", "MTR", "HUR", "XBX", "LTR")
_TAX_RATES = tuple(Decimal(rate) for rate in ("0", "7", "10", "19", "20"))
_DISCOUNTS = tuple(Decimal(percent) for percent in ("0", "0", "0", "0", "5", "12.5"))
_OTHER_CURRENCIES = ("EUR", "USD", "GBP")
# The longer ago, the more is finished.
_RECENT = {
    "draft": 25,
    "pending": 25,
    "approved": 25,
    "ordered": 10,
    "partially_ordered": 5,
    "rejected": 5,
    "cancelled": 5,
}
_OLDER = {
    "draft": 3,
    "pending": 1,
    "approved": 8,
    "ordered": 12,
    "partially_ordered": 3,
    "closed": 60,
    "rejected": 6,
    "cancelled": 7,
}
_RECENT_SHARE = 0.1
# The content of this document is irrelevant; the scenarios render real ones.
_PDF = b"%PDF-1.7 of the benchmark"
_PDF_COPY = f"\\\\x{_PDF.hex()}\t{hashlib.sha256(_PDF).hexdigest()}"


@dataclass(frozen=True)
class Line(ApprovedLine):
    """A line of a body."""

    net: Decimal

    @cached_property
    def texts(self) -> tuple[str, str, str]:
        """The line in COPY's format: the part before the quantity, the part between it and the net, and the net."""
        before = f"{self.position}\t{self.description}\t{self.sku or NULL}"
        between = f"{self.unit}\t{self.unit_price}\t{self.discount_percent}\t{self.tax_rate}\t{self.needed_by or NULL}"
        return before, between, str(self.net)

    def priced(self, quantity: Decimal) -> PricedLine:
        return PricedLine(quantity, self.unit_price, self.discount_percent, self.tax_rate)


@dataclass(frozen=True)
class Body:
    """Lines and their totals."""

    currency: str
    tax_rounding: str
    lines: Sequence[Line]

    @cached_property
    def totals(self) -> Totals:
        return self.totals_of([line.quantity for line in self.lines])

    @cached_property
    def half(self) -> Decimal:
        """Half of the first line: the ordered part of a partially ordered request."""
        return self.lines[0].quantity / 2

    def totals_of(self, quantities: Sequence[Decimal]) -> Totals:
        lines = [line.priced(quantity) for line, quantity in zip(self.lines, quantities, strict=False)]
        return totals(lines, currency=self.currency, tax_rounding=TaxRounding(self.tax_rounding))


@dataclass(frozen=True)
class Request:
    """The header of a request; the names are those of `PorfContent`."""

    id: int
    company: Company
    number: str
    title: str
    justification: str | None
    cost_centre: str | None
    needed_by: date | None
    currency: str
    tax_rounding: str
    supplier_id: int | None
    requester_id: int
    status: str
    created_at: datetime


def make_body(random: Random, language: Language, currency: str, tax_rounding: str) -> Body:
    """One to forty lines, most have few."""
    lines = []
    for position in range(1, min(MAX_LINES, int(random.paretovariate(1))) + 1):
        sku = f"{random.choice('ABCDEF')}-{random.randrange(100_000):05d}" if random.random() < 0.7 else None
        quantity = Decimal(random.choice((1, 1, 2, 3, 5, 10, 12, 25, 100, 250)))
        if random.random() < 0.1:
            quantity += Decimal("0.25")
        price = Decimal(int(random.lognormvariate(8, 1.5)) + 1).scaleb(-minor_units(currency))
        discount, tax = random.choice(_DISCOUNTS), random.choice(_TAX_RATES)
        needed_by = (START + timedelta(days=random.randrange(1200))).date() if random.random() < 0.2 else None
        net = line_net(PricedLine(quantity, price, discount, tax), currency)
        text = language.phrase(random, random.randint(2, 8))
        unit = random.choice(_UNITS)
        content = (text, sku, quantity, unit, price, discount, tax, needed_by, None, None)
        lines.append(Line(*content, position, Decimal(0), net))
    return Body(currency, tax_rounding, lines)


def _content(request: Request) -> PorfContent:
    """The header; fields that these data do not use are empty."""
    unused = {name: None for name in field_names(PorfContent) if not hasattr(request, name)}
    return extract(PorfContent, request, **unused)


class DataSet:
    """All rows, batch by batch; the ids of what the scenarios need are in `companies`."""

    def __init__(self, *, seed: int, requests: int) -> None:
        self._random = Random(seed)
        self._requests = requests
        self.companies = found_companies(self._random, requests)
        self._bodies: dict[tuple[str, str], list[Body]] = {}
        self._ids: defaultdict[str, int] = defaultdict(int)
        self._rows: defaultdict[str, list[str]] = defaultdict(list)

    def batches(self) -> Iterator[Batch]:
        people = list(find_people(self._random, self.companies))
        yield {
            "organisations": list(organisation_rows(self.companies)),
            "users": list(user_rows(people)),
            "members": list(member_rows(people)),
            "suppliers": list(supplier_rows(self._random, self.companies)),
        }
        # Those of all organisations come as time passes, so that a small one's rows lie far apart.
        order = [company for company in self.companies for _ in range(company.requests)]
        self._random.shuffle(order)
        step = (END - START) / len(order)
        for position, company in enumerate(order):
            created_at = START + step * position
            self._add(company, created_at, recent=position > len(order) * (1 - _RECENT_SHARE))
            if (position + 1) % BATCH == 0:
                yield self._take()
        self._rows["number_series"].extend(series_rows(self.companies))
        yield self._take()

    def _take(self) -> Batch:
        rows, self._rows = self._rows, defaultdict(list)
        return rows

    def _next_id(self, table: str) -> int:
        self._ids[table] += 1
        return self._ids[table]

    def _body(self, currency: str, tax_rounding: str) -> Body:
        stock = self._bodies.get((currency, tax_rounding))
        if stock is None:
            stock = [
                make_body(self._random, some_language(self._random), currency, tax_rounding) for _ in range(BODIES)
            ]
            self._bodies[currency, tax_rounding] = stock
        return stock[int(self._random.random() * BODIES)]

    def _add(self, company: Company, created_at: datetime, *, recent: bool) -> None:
        """Add one request with its lines, decisions, order and history."""
        random = self._random
        currency = company.currency if random.random() < 0.92 else random.choice(_OTHER_CURRENCIES)
        body = self._body(currency, company.tax_rounding)
        weights = _RECENT if recent else _OLDER
        status = random.choices(list(weights), weights=list(weights.values()))[0]
        period = period_of(created_at, company.timezone)
        requesters, suppliers = company.requesters, company.suppliers
        request = Request(
            id=self._next_id("porfs"),
            company=company,
            number=format_number("PORF", period, company.next_number(DocumentType.PORF, period)),
            title=company.language.title(random),
            justification=company.language.phrase(random, 12) if random.random() < 0.3 else None,
            cost_centre=str(4000 + random.randrange(60)) if random.random() < 0.7 else None,
            needed_by=(created_at + timedelta(days=random.randrange(5, 90))).date() if random.random() < 0.5 else None,
            currency=currency,
            tax_rounding=company.tax_rounding,
            supplier_id=suppliers[int(len(suppliers) * random.random() ** 2)],
            requester_id=requesters[int(len(requesters) * random.random() ** 2)],
            status=status,
            created_at=created_at,
        )
        history = _History(self, request, body)
        history.tell()
        self._add_header(request, body, history)
        self._add_lines(request, body)

    def _add_header(self, request: Request, body: Body, history: "_History") -> None:
        sums, is_draft = body.totals, request.status == "draft"
        self._rows["porfs"].append(
            f"{request.company.id}\t{request.id}\t{request.number}\t{request.title}\t{request.justification or NULL}"
            f"\t{request.cost_centre or NULL}\t{request.needed_by or NULL}\t{request.currency}\t{request.tax_rounding}"
            f"\t{sums.net}\t{sums.tax}\t{sums.total}\t{request.status}\t{request.requester_id}\t{request.supplier_id}"
            f"\t{history.submitted_at or NULL}\t{history.decided_at or NULL}\t{history.version}\t{request.created_at}"
            f"\t{history.now}\t{NULL if is_draft else 0}\t{NULL if is_draft else sums.total}\n"
        )

    def _add_lines(self, request: Request, body: Body) -> None:
        rows, company, created_at = self._rows["porf_lines"], request.company, request.created_at
        first = self._ids["porf_lines"] + 1
        for line in body.lines:
            before, between, net = line.texts
            quantity = line.quantity
            closed = quantity if request.status == "closed" else 0
            ordered = quantity if request.status == "ordered" else 0
            if request.status == "partially_ordered" and line.position == 1:
                ordered = body.half
            rows.append(
                f"{company.id}\t{self._next_id('porf_lines')}\t{request.id}\t{before}\t{quantity}\t{between}\t{net}"
                f"\t{company.tolerance}\t{closed}\t{ordered}\t{created_at}\t{created_at}\n"
            )
        if request.status == "ordered":
            self._add_order(request, body, first, [line.quantity for line in body.lines])
        elif request.status == "partially_ordered":
            self._add_order(request, body, first, [body.half])

    def _add_order(self, request: Request, body: Body, first_line: int, quantities: Sequence[Decimal]) -> None:
        """Add a purchase order with these quantities of the lines; nine in ten are issued."""
        company, order_id = request.company, self._next_id("purchase_orders")
        made_at, issued_at = request.created_at + timedelta(days=3), request.created_at + timedelta(days=4)
        number = None
        if self._random.random() < 0.9:
            period = period_of(issued_at, company.timezone)
            number = format_number("PO", period, company.next_number(DocumentType.PURCHASE_ORDER, period))
        sums = body.totals_of(quantities)
        assert request.supplier_id is not None
        self._rows["purchase_orders"].append(
            f"{company.id}\t{order_id}\t{number or NULL}\t{'issued' if number else 'draft'}\t{request.supplier_id}"
            f"\t{supplier_name(company, request.supplier_id)}\t{company.buyer}\t{request.currency}"
            f"\t{request.tax_rounding}\t{sums.net}\t{sums.tax}\t{sums.total}\t{issued_at if number else NULL}"
            f"\t{2 if number else 1}\t{made_at}\t{issued_at if number else made_at}\n"
        )
        for line, quantity in zip(body.lines, quantities, strict=False):
            before, between, _ = line.texts
            line_id = self._next_id("purchase_order_lines")
            net = line_net(line.priced(quantity), body.currency)
            self._rows["purchase_order_lines"].append(
                f"{company.id}\t{line_id}\t{order_id}\t{before}\t{quantity}\t{between}\t{net}\n"
            )
            self._rows["allocations"].append(
                f"{company.id}\t{self._next_id('allocations')}\t{line_id}\t{first_line + line.position - 1}"
                f"\t{quantity}\n"
            )
        after = {"porfs": [request.number], "total": str(sums.total)}
        self.add_event(company, company.buyer, "purchase_order.create", order_id, None, after, made_at)
        if number:
            self._rows["purchase_order_files"].append(
                f"{company.id}\t{self._next_id('purchase_order_files')}\t{order_id}\t1\t{_PDF_COPY}\t{issued_at}\n"
            )
            after = {"status": "issued", "number": number}
            self.add_event(
                company, company.buyer, "purchase_order.issue", order_id, {"status": "draft"}, after, issued_at
            )

    def add_decision(self, request: Request, approver: int, decision: str, digest: str, at: datetime) -> None:
        comment = NULL if decision == "approved" else "–"
        self._rows["approval_decisions"].append(
            f"{request.company.id}\t{self._next_id('approval_decisions')}\t{request.id}\t1\t{approver}\t{decision}"
            f"\t{comment}\t{digest}\t{at}\n"
        )

    def add_event(
        self,
        company: Company,
        actor: int,
        action: str,
        entity_id: int,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any],
        at: datetime,
    ) -> None:
        self._rows["audit_events"].append(
            f"{company.id}\t{self._next_id('audit_events')}\t{actor}\t{action}\t{action.partition('.')[0]}\t{entity_id}"
            f"\t{NULL if before is None else json.dumps(before)}\t{json.dumps(after, ensure_ascii=False)}"
            f"\t{NULL}\t{at}\n"
        )


class _History:
    """The events of a request up to its status."""

    def __init__(self, data: DataSet, request: Request, body: Body) -> None:
        self._data = data
        self._request = request
        self._body = body
        self._status = "draft"
        self.version = 0
        self.now = request.created_at
        self.submitted_at: datetime | None = None
        self.decided_at: datetime | None = None

    def tell(self) -> None:
        request = self._request
        created = {"number": request.number, "title": request.title, "total": str(self._body.totals.total)}
        self._event(request.requester_id, "create", None, created)
        status = request.status
        # Half of those that were cancelled had been submitted.
        if status == "draft" or (status == "cancelled" and request.id % 2):
            return self._end(status)
        self.submitted_at = self._change(request.requester_id, "submit", "pending")
        if status in ("pending", "cancelled"):
            return self._end(status)
        self._decide("rejected" if status == "rejected" else "approved")
        return self._end(status)

    def _end(self, status: str) -> None:
        company, requester = self._request.company, self._request.requester_id
        if status == self._status:
            return
        action, actor = {
            "cancelled": ("cancel", requester),
            "closed": ("close", company.buyer),
            "ordered": ("convert", company.buyer),
            "partially_ordered": ("convert", company.buyer),
        }[status]
        self._change(actor, action, status)

    def _decide(self, decision: str) -> None:
        request = self._request
        approvers = request.company.approvers
        approver = approvers[request.id % len(approvers)]
        digest = content_hash(_content(request), self._body.lines, version=1)
        self.decided_at = self._change(approver, "approve" if decision == "approved" else "reject", decision)
        self._data.add_decision(request, approver, decision, digest, self.decided_at)

    def _change(self, actor: int, action: str, status: str) -> datetime:
        self.now += timedelta(hours=5)
        before = {"status": self._status, "approval_round": 1}
        self._event(actor, action, before, {"status": status, "approval_round": 1})
        self._status = status
        return self.now

    def _event(self, actor: int, action: str, before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> None:
        self.version += 1
        request = self._request
        self._data.add_event(request.company, actor, f"porf.{action}", request.id, before, after, self.now)
