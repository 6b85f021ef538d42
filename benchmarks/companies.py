"""The organisations of the data set with their members and suppliers: one has half of everything, most are small."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from random import Random

from benchmarks.texts import Language, some_language
from po_api.core.text import name_key

FOUNDED = datetime(2023, 6, 1, tzinfo=UTC)
# A little more than half, so that a page at position 100,000 of 200,000 is a full one.
LARGEST_SHARE = 0.51
REQUESTS_PER_ORGANISATION = 500
_CURRENCIES = {"EUR": 45, "USD": 20, "GBP": 15, "JPY": 8, "CHF": 5, "PLN": 4, "KWD": 3}
_TIMEZONES = ("Europe/Berlin", "Europe/London", "America/New_York", "Asia/Tokyo", "Pacific/Auckland", "UTC")
_ROLES = ("{admin}", "{approver}", "{buyer}", "{auditor}")
_LIMITS = (Decimal(500), Decimal(5000), Decimal(50_000))


@dataclass
class Company:
    """An organisation, with the ids of its rows. Its first four members are an admin, an approver without a limit, a
    buyer and an auditor, followed by its other approvers and its requesters."""

    id: int
    requests: int
    currency: str
    timezone: str
    tax_rounding: str
    tolerance: Decimal
    language: Language
    users: range
    approvers: Sequence[int]
    suppliers: range
    numbers: dict[tuple[str, str], int] = field(default_factory=dict)

    @property
    def buyer(self) -> int:
        return self.users[2]

    @property
    def requesters(self) -> range:
        return self.users[3 + len(self.approvers) :]

    def next_number(self, document_type: str, period: str) -> int:
        value = self.numbers.get((document_type, period), 0) + 1
        self.numbers[document_type, period] = value
        return value


@dataclass(frozen=True)
class Person:
    """A member of an organisation, and their account; an approval limit of None is no limit."""

    id: int
    company: Company
    name: str
    roles: str
    approval_limit: Decimal | None

    @property
    def email(self) -> str:
        return f"user{self.id}@company{self.company.id}.example"


def found_companies(random: Random, requests: int) -> list[Company]:
    """The organisations for a number of requests; their sizes follow a power law of their rank."""
    count = max(20, requests // REQUESTS_PER_ORGANISATION)
    ranks = [1 / rank**0.9 for rank in range(1, count)]
    largest = round(requests * LARGEST_SHARE)
    shares = [largest, *(int((requests - largest) * rank / sum(ranks)) for rank in ranks)]
    shares[1] += requests - sum(shares)
    companies: list[Company] = []
    next_user, next_supplier = 1, 1
    for number, share in enumerate(shares, start=1):
        members = min(2000, 6 + share // 100)
        suppliers = min(1000, 4 + share // 80)
        users = range(next_user, next_user + members)
        next_user, next_supplier = users.stop, next_supplier + suppliers
        companies.append(
            Company(
                id=number,
                requests=share,
                currency=random.choices(list(_CURRENCIES), weights=list(_CURRENCIES.values()))[0],
                timezone=random.choice(_TIMEZONES),
                tax_rounding="line" if random.random() < 0.25 else "document",
                tolerance=Decimal(random.choice((0, 0, 0, 5, 10))),
                language=some_language(random),
                users=users,
                approvers=[users[1], *users[4 : 4 + members // 12]],
                suppliers=range(next_supplier - suppliers, next_supplier),
            )
        )
    return companies


def organisation_rows(companies: Sequence[Company]) -> Iterator[str]:
    for company in companies:
        yield (
            f"{company.id}\t{company.language.words[0]} {company.id}\t{company.timezone}\t{company.currency}"
            f"\t{company.tax_rounding}\t{company.tolerance}\t{FOUNDED}\t{FOUNDED}\n"
        )


def find_people(random: Random, companies: Sequence[Company]) -> Iterator[Person]:
    for company in companies:
        approvers = set(company.approvers[1:])
        for position, user in enumerate(company.users):
            roles, limit = "{requester}", None
            if position < len(_ROLES):
                roles = _ROLES[position]
            elif user in approvers:
                roles, limit = "{approver}", random.choice(_LIMITS)
            yield Person(user, company, company.language.phrase(random, 2), roles, limit)


def user_rows(people: Iterable[Person]) -> Iterator[str]:
    for person in people:
        yield f"{person.id}\t{person.email}\t{person.name}\t{person.company.id}\t{FOUNDED}\t{FOUNDED}\n"


def member_rows(people: Iterable[Person]) -> Iterator[str]:
    for person in people:
        limit = "\\N" if person.approval_limit is None else person.approval_limit
        yield (
            f"{person.company.id}\t{person.id}\t{person.email}\t{person.name}\t{person.roles}\t{limit}"
            f"\t{FOUNDED}\t{FOUNDED}\t{FOUNDED}\n"
        )


def supplier_rows(random: Random, companies: Sequence[Company]) -> Iterator[str]:
    for company in companies:
        for supplier in company.suppliers:
            name = supplier_name(company, supplier)
            email = f"orders@supplier{supplier}.example"
            active = "f" if supplier > company.suppliers[2] and random.random() < 0.05 else "t"
            yield f"{company.id}\t{supplier}\t{name}\t{name_key(name)}\t{email}\t{active}\t{FOUNDED}\t{FOUNDED}\n"


def supplier_name(company: Company, supplier: int) -> str:
    words = company.language.words
    return f"{words[supplier % len(words)]} & {words[supplier // 7 % len(words)]} {supplier}"


def series_rows(companies: Sequence[Company]) -> Iterator[str]:
    for company in companies:
        for (document_type, period), last in company.numbers.items():
            yield f"{company.id}\t{document_type}\t{period}\t{last + 1}\n"
