"""The purchase order's PDF in each language and on each paper, with logo, colour and footer."""

import io
import json
import string
from dataclasses import fields, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pypdf import PdfReader

from po_api.core.parties import Language
from po_api.organisations.domain import Paper
from po_api.purchase_orders.documents import Letterhead, Party
from po_api.purchase_orders.domain import CURRENT_TEMPLATE
from po_api.purchase_orders.labels import LABELS
from po_api.purchase_orders.locales import wording_of
from po_api.purchase_orders.sheets import cancelled_mark, draft_mark, sheet
from po_api.purchase_orders.typesetting import typeset
from support.images import png
from support.order_documents import full, line, many, order, printed_order

pytestmark = pytest.mark.heavy

# Of each language: what the full order has.
PRINTED = {
    Language.ENGLISH: (
        "Purchase order PO-2026-000123",
        "VAT ID DE136695976 Company no. HRB 12345 Ingrid Sørensen buy@northwind.example Tel. +49 40 123456",
        "Date 12 March 2026 Revision 2 Currency EUR (Euro) Delivery date 2 April 2026",
        "Cost centre 4711 Payment 2 % within 10 days Incoterms DAP Hamburg Buyer reference 04011000-12345-03",
        "Approved by Ada Approver, 11 Mar 2026 Bert Boss, 12 Mar 2026",
        "Deliver to Werk 2, Tor B",
        "Invoice to Accounts payable Postfach 1234 20457 Hamburg",
        "1,234.5 l 3.485 12.5% 7% 3,764.45",
        "2 days 400.00 0% 800.00",
        "3 boxes 1,249.90 0% 3,749.70",
        "Tax 0% on 800.00 0.00 Tax 0% Reverse charge on 3,749.70 0.00 Tax 0% Exempt",
        "Reverse charge: Article 196",
        "Total EUR",
        "Authorised for Northwind Manufacturing GmbH",
        "Page 1 of",
    ),
    Language.GERMAN: (
        "Bestellung PO-2026-000123",
        "USt-IdNr. DE136695976 Registernr. HRB 12345",
        "Datum 12. März 2026 Revision 2 Währung EUR (Euro) Liefertermin 2. April 2026",
        "Genehmigt von Ada Approver, 11.03.2026 Bert Boss, 12.03.2026",
        "Lieferanschrift Werk 2, Tor B",
        "Rechnungsanschrift Accounts payable",
        "1.234,5 l 3,485 12,5 % 7 % 3.764,45",
        "2 Tage 400,00 0 % 800,00",
        "3 Kisten 1.249,90",
        "Steuerschuldnerschaft des Leistungsempfängers: Article 196",
        "Angenommen für Acme Industrial Supplies Ltd",
        "Seite 1 von",
    ),
    Language.FRENCH: (
        "Bon de commande PO-2026-000123",
        "N° TVA DE136695976 N° d’entreprise HRB 12345",
        "Date 12 mars 2026 Révision 2 Devise EUR (euro) Date de livraison 2 avril 2026",
        "Adresse de facturation Accounts payable",
        "1 234,5 l 3,485 12,5 % 7 % 3 764,45",
        "2 jours 400,00 0 % 800,00",
        "3 boîtes 1 249,90",
        "Autoliquidation : Article 196",
        "Total TTC EUR",
        "Page 1 sur",
    ),
    Language.SPANISH: (
        "Orden de compra PO-2026-000123",
        "NIF-IVA DE136695976 N.º de registro HRB 12345",
        "Fecha 12 de marzo de 2026 Revisión 2 Moneda EUR (euro) Fecha de entrega 2 de abril de 2026",
        "Dirección de facturación Accounts payable",
        "1.234,5 l 3,485 12,5 % 7 % 3.764,45",
        "2 días 400,00 0 % 800,00",
        "3 cajas 1.249,90",
        "Inversión del sujeto pasivo: Article 196",
        "Página 1 de",
    ),
}
SIZES = {Paper.A4: (595, 842), Paper.LETTER: (612, 792)}
HOSTILE = '#panic("x") $x$ *a* @ref _b_ `c` <l> // not /* a */ \\u{41} #read("/etc/passwd") [z] {page} {number}'


def read(printed: bytes, logo: bytes | None = None) -> PdfReader:
    return PdfReader(io.BytesIO(typeset(printed, CURRENT_TEMPLATE, logo)))


def pages(reader: PdfReader) -> list[str]:
    """The texts of the pages; extracting one takes longer than typesetting it."""
    return [page.extract_text() for page in reader.pages]


def words(texts: list[str]) -> str:
    return " ".join(" ".join(texts).split())


@cache
def usual_words(logo: bytes | None = None) -> str:
    """Those of the order with every field."""
    return words(pages(read(printed_order(full()), logo)))


def is_archival(reader: PdfReader) -> bool:
    stream = reader.root_object["/Metadata"].get_object()
    return b"pdfaid:part" in stream.get_data()  # type: ignore[union-attr]


@pytest.mark.parametrize("paper", Paper)
@pytest.mark.parametrize("language", Language)
def test_an_order_with_every_field_is_printed_in_each_language(language: Language, paper: Paper) -> None:
    reader = read(printed_order(full(language, paper)), png(640, 160))
    texts = pages(reader)
    whole = words(texts)
    for expected in PRINTED[language]:
        assert expected in whole
    assert str(reader.root_object["/Lang"]) == language
    assert is_archival(reader)
    assert all("Northwind · IBAN DE89 3704 0044 0532 0130 00" in text for text in texts)
    for page in reader.pages:
        assert tuple(round(side) for side in page.mediabox[2:]) == SIZES[paper]
    assert len(reader.pages[0].images) == 1


@pytest.mark.parametrize("language", Language)
def test_the_least_order_has_no_empty_places(language: Language) -> None:
    least = replace(
        order(line()),
        buyer=Party("A"),
        supplier=Party("B"),
        terms=None,
        delivery_address=None,
        requests=(),
        prepared_by=None,
        letterhead=Letterhead(language),
    )
    reader, labels = read(printed_order(least)), LABELS[language]
    text = words(pages(reader))
    absent = (labels.deliver_to, labels.invoice_to, labels.tax_id, labels.phone, labels.terms, labels.approved_by)
    assert not [label for label in absent if label in text]
    assert (len(reader.pages), len(reader.pages[0].images)) == (1, 0)
    assert labels.accepted_for in text


@pytest.mark.parametrize("language", Language)
def test_marks_are_words_of_the_language_on_every_page(language: Language) -> None:
    moment, labels = datetime(2026, 5, 2, 23, 30, tzinfo=UTC), LABELS[language]
    document = replace(many(60), letterhead=Letterhead(language))
    cancelled = read(printed_order(document, mark=cancelled_mark(moment, "Europe/Berlin", language)))
    day = wording_of(language).date(date(2026, 5, 3))
    draft = replace(document, issued_on=None)
    mark = draft_mark(moment, "Europe/Berlin", language)
    drafted = read(printed_order(draft, number=None, mark=mark))
    for reader, first, word in (
        (cancelled, labels.cancelled_on.format(date=day), labels.cancelled),
        (drafted, labels.no_order, labels.draft_mark),
    ):
        texts = pages(reader)
        assert first in words(texts)
        assert is_archival(reader)
        assert all(labels.title in text for text in texts)
        assert all(f"· {word}" in text for text in texts[1:])


def test_every_language_has_every_word_with_the_same_places() -> None:
    english = LABELS[Language.ENGLISH]
    for labels in LABELS.values():
        for each in fields(labels):
            word, expected = getattr(labels, each.name), getattr(english, each.name)
            assert word
            if isinstance(word, str):
                assert _places(word) == _places(expected)
        assert labels.units.keys() == english.units.keys()
        assert labels.categories.keys() == english.categories.keys()


def _places(word: str) -> set[str | None]:
    return {name for _, name, _, _ in string.Formatter().parse(word) if name}


@pytest.mark.parametrize(
    ("language", "code", "expected"),
    [
        (Language.ENGLISH, "DAY", ["days", "day", "days", "days"]),
        (Language.GERMAN, "XPX", ["Paletten", "Palette", "Paletten", "Paletten"]),
        (Language.FRENCH, "DAY", ["jour", "jour", "jour", "jours"]),
        (Language.SPANISH, "C62", ["uds.", "ud.", "uds.", "uds."]),
        (Language.GERMAN, "FTK", ["ft²"] * 4),
        (Language.FRENCH, "HUR", ["h"] * 4),
        (Language.SPANISH, "XZZ", ["XZZ"] * 4),
    ],
)
def test_units_follow_the_plural_of_the_language(language: Language, code: str, expected: list[str]) -> None:
    quantities = [Decimal(text) for text in ("0.5", "1.0000", "1.5", "100.0000")]
    assert [wording_of(language).unit(code, quantity) for quantity in quantities] == expected


@given(st.decimals(min_value=0, max_value=10**15, places=4), st.sampled_from(Language))
def test_numbers_are_written_without_rounding(value: Decimal, language: Language) -> None:
    wording = wording_of(language)
    text = wording.decimal(value, 2)
    plain = text.translate({ord(wording.separators[ord(",")]): "", ord(wording.separators[ord(".")]): "."})
    assert Decimal(plain) == value
    assert len(plain.partition(".")[2]) >= 2


@given(st.text(alphabet=st.sampled_from("ab .\n字"), max_size=2500))
def test_what_is_kept_with_the_signatures_loses_nothing(terms: str) -> None:
    """Terms are split for the page break: their text stays, and what is kept fits on a page."""
    data = json.loads(sheet(replace(order(line(1, terms or "x")), terms=terms)))
    parts = [*data["terms"], *(data["closing"] or [])]
    assert "".join("".join(parts).split()) == "".join(terms.split())
    kept = "\n".join(data["closing"] or [])
    assert len(kept) <= 402
    assert kept.count("\n") < 10
    described = data["lines"][0]["description"] + (data["last_line"] or "")
    assert "".join(described.split()) == "".join((terms or "x").split())


@pytest.mark.parametrize(
    "logo",
    [
        pytest.param(png(1, 1), id="one pixel"),
        pytest.param(png(2048, 3), id="wide"),
        pytest.param(png(3, 2048), id="tall"),
        pytest.param(png(300, 300), id="square"),
        pytest.param(png(9, 3, pixels=bytes(3 * (1 + 9 * 8)), kind=(16, 6, 0)), id="transparent, 16 bits"),
        pytest.param(png(9, 3, pixels=bytes(3 * (1 + 2)), kind=(1, 0, 0)), id="1 bit"),
    ],
)
def test_logos_of_all_sizes_leave_the_page_as_it_is(logo: bytes) -> None:
    document = printed_order(full())
    made, again = (typeset(document, CURRENT_TEMPLATE, logo) for _ in range(2))
    reader = PdfReader(io.BytesIO(made))
    assert len(reader.pages[0].images) == 1
    assert is_archival(reader)
    assert words(pages(reader)) == usual_words(png(64, 16))
    assert made == again


def test_text_is_never_markup_in_any_place() -> None:
    party = Party(HOSTILE, HOSTILE, HOSTILE, HOSTILE, company_id=HOSTILE, contact=HOSTILE, phone=HOSTILE)
    lines = [
        replace(
            line(number, HOSTILE, tax_rate="0", unit="XZZ", sku=HOSTILE),
            cost_centre=f"{number}{HOSTILE}",
            tax_category="E",
            tax_exemption_reason=HOSTILE,
        )
        for number in (1, 2)
    ]
    document = replace(
        full(),
        buyer=party,
        supplier=replace(party, vat_id=HOSTILE),
        lines=tuple(lines),
        buyer_reference=HOSTILE,
        approved_by=((HOSTILE, date(2026, 3, 11)),),
        letterhead=Letterhead(footer_lines=(HOSTILE,) * 4),
        terms=HOSTILE,
        delivery_address=HOSTILE,
        invoice_address=HOSTILE,
        prepared_by=HOSTILE,
        payment_terms=HOSTILE,
        incoterms=HOSTILE,
    )
    reader = read(printed_order(document))
    found = "".join("".join(pages(reader)).split()).count("".join(HOSTILE.split()))
    # Parties twice seven times, lines, reasons, signatures, other places, and the foot of each page.
    assert found >= 40
    assert is_archival(reader)


@pytest.mark.parametrize("colour", [None, "#ffffff", "#ffe600", "#000000", "#005a8c"])
def test_a_colour_changes_no_text(colour: str | None) -> None:
    document = full()
    coloured = replace(document, letterhead=replace(document.letterhead, accent_colour=colour))
    assert words(pages(read(printed_order(coloured)))) == usual_words()


def test_a_long_foot_leaves_the_text_above_it() -> None:
    long = Letterhead(footer_lines=("漢字" * 127, "x" * 255, "a b " * 63, "שלום " * 51))
    reader = read(printed_order(replace(many(60), letterhead=long)))
    texts = pages(reader)
    whole = words(texts)
    assert all(f"Steel bolt no. {number}." in whole for number in range(1, 61))
    assert all("漢字" in text for text in texts)
