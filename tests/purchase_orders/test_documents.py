"""The purchase order's PDF: its text, and identical bytes for the same order."""

import hashlib
import io
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime
from importlib import resources
from pathlib import Path

import pytest
from pypdf import PdfReader

from po_api.purchase_orders.documents import Party, PurchaseOrderDocument
from po_api.purchase_orders.domain import CURRENT_TEMPLATE
from po_api.purchase_orders.sheets import cancelled_mark, draft_mark, printed
from po_api.purchase_orders.typesetting import typeset
from support.images import png
from support.order_documents import BUYER, line, many, order, printed_order

pytestmark = pytest.mark.heavy


def render(document: PurchaseOrderDocument) -> bytes:
    return typeset(printed_order(document), CURRENT_TEMPLATE)


def read(document: PurchaseOrderDocument) -> PdfReader:
    return PdfReader(io.BytesIO(render(document)))


def pages(document: PurchaseOrderDocument) -> list[str]:
    return [page.extract_text() for page in read(document).pages]


def words(document: PurchaseOrderDocument) -> str:
    """All text, with one space wherever there is white space: wrapping does not matter."""
    return " ".join(" ".join(pages(document)).split())


def is_archival(reader: PdfReader) -> bool:
    """Whether the PDF declares itself PDF/A, which it can only with a glyph for every character."""
    stream = reader.root_object["/Metadata"].get_object()
    return b"pdfaid:part" in stream.get_data()  # type: ignore[union-attr]


def fonts(reader: PdfReader) -> dict[str, bytes]:
    """The embedded fonts, each a subset of the used glyphs."""
    found = {}
    for page in reader.pages:
        for font in page["/Resources"]["/Font"].values():  # type: ignore[index]
            name = font["/BaseFont"].partition("+")[2].partition("-")[0]
            descriptor = font["/DescendantFonts"][0]["/FontDescriptor"]
            found[name] = (descriptor.get("/FontFile2") or descriptor["/FontFile3"]).get_data()
    return found


def digest(document: PurchaseOrderDocument) -> str:
    return hashlib.sha256(render(document)).hexdigest()


def test_the_document_has_parties_lines_dates_and_terms() -> None:
    text = words(order(line(sku="HP-250", needed_by=date(2026, 4, 2))))
    for expected in (
        "Purchase order PO-2026-000123",
        "Northwind Manufacturing GmbH",
        "Hafenstraße 12 20457 Hamburg",
        "Tax ID DE 811 234 567",
        "buy@northwind.example",
        "Acme Industrial Supplies Ltd",
        "Date 12 March 2026",
        "Revision 2",
        "Currency EUR",
        "Requests PORF-2026-000045, PORF-2026-000051",
        "Prepared by Ingrid Sørensen",
        "Deliver to Werk 2, Tor B 21107 Hamburg",
        "SKU HP-250 · Needed by 2 April 2026",
        "Payment within 30 days. Partial deliveries only after agreement.",
        "Authorised for Northwind Manufacturing GmbH",
        "Accepted for Acme Industrial Supplies Ltd",
        "Page 1 of 1",
    ):
        assert expected in text


def test_amounts_have_separators_and_the_minor_digits_of_the_currency() -> None:
    text = words(
        order(line(), line(2, "Oil", "200", "3.485", "7", unit="LTR"), line(3, "Work", "12.5", "95", discount="10"))
    )
    assert "2 pcs 1,249.90 19% 2,499.80" in text
    assert "200 l 3.485 7% 697.00" in text
    assert "12.5 pcs 95.00 10% 19% 1,068.75" in text
    assert "Net 4,265.55 Tax 7% on 697.00 48.79 Tax 19% on 3,568.55 678.02 Total EUR 4,992.36" in text


@pytest.mark.parametrize(
    ("currency", "price", "net", "total"),
    [
        ("JPY", "9,800.5", "19,601", "Total JPY 21,561"),
        ("KWD", "9,800.500", "19,601.000", "Total KWD 21,561.100"),
        ("CLF", "9,800.5000", "19,601.0000", "Total CLF 21,561.1000"),
        ("BGN", "9,800.50", "19,601.00", "Total BGN 21,561.10"),
        ("ITL", "9,800.5", "19,601", "Total ITL 21,561"),
    ],
)
def test_currencies_with_other_minor_units(currency: str, price: str, net: str, total: str) -> None:
    text = words(order(line(unit_price="9800.5000", tax_rate="10.00", currency=currency), currency=currency))
    assert f"2 pcs {price} 10% {net}" in text
    assert total in text


def test_a_currency_that_is_not_known_has_two_decimals() -> None:
    assert "Total XXX 2,974.76" in words(order(line(currency="XXX"), currency="XXX"))


def test_the_largest_amount_is_printed_in_full() -> None:
    text = words(order(line(quantity="1", unit_price="99999999999999.9999", tax_rate="0")))
    assert "99,999,999,999,999.9999" in text
    assert "Total EUR 100,000,000,000,000.00" in text


@pytest.mark.parametrize(
    ("quantity", "unit", "expected"),
    [
        ("1", "C62", "1 pc "),
        ("2", "C62", "2 pcs "),
        ("0.5", "HUR", "0.5 h "),
        ("1234.5670", "KGM", "1,234.567 kg "),
        ("3", "MTR", "3 m "),
        ("1.0000", "DAY", "1 day "),
        ("10", "DAY", "10 days "),
        ("7", "XZZ", "7 XZZ "),
    ],
)
def test_units_are_words_where_there_is_one(quantity: str, unit: str, expected: str) -> None:
    assert expected in words(order(line(quantity=quantity, unit=unit)))


def test_the_discount_column_is_there_when_a_line_has_one() -> None:
    assert "Discount" not in words(order(line()))
    assert "Discount" in words(order(line(), line(2, discount="12.5")))


def test_a_bare_order_leaves_out_what_it_does_not_have() -> None:
    bare = replace(
        order(line()),
        buyer=Party("A"),
        supplier=Party("B"),
        terms=None,
        delivery_address=" ",
        requests=(),
        prepared_by=None,
    )
    text = words(bare)
    for absent in ("Terms", "Deliver to", "Request", "Prepared by", "Tax ID", "SKU", "Needed by", "None"):
        assert absent not in text


def test_an_order_without_lines_has_zero_totals() -> None:
    assert "Total EUR 0.00" in words(order())


def test_every_page_repeats_the_header_and_its_number() -> None:
    texts = pages(many(200))
    assert len(texts) > 5
    for number, text in enumerate(texts, 1):
        assert f"Page {number} of {len(texts)}" in text
        assert "PO-2026-000123" in text
        if "Steel bolt" in text:
            assert "Description Quantity Unit price Tax Net EUR" in " ".join(text.split())
    every = "".join(texts)
    assert all(f"Steel bolt no. {n}." in every for n in range(1, 201))


LONG = "".join(f"Sentence no. {n} of a long text. " for n in range(100))


@pytest.mark.parametrize("terms", [None, "Payment within 30 days.", LONG, "\n".join(f"row {n}" for n in range(60))])
@pytest.mark.parametrize("last", ["Steel bolt", pytest.param(LONG, marks=pytest.mark.exhaustive)])
def test_totals_and_signatures_never_stand_alone(terms: str | None, last: str) -> None:
    """The end of the lines moves over the end of a page: totals follow the last line, signatures totals or terms."""
    for count in range(18, 30, 1 if terms is None else 2):
        *lines, end = many(count).lines
        texts = pages(replace(order(*lines, replace(end, description=last)), terms=terms))
        (with_totals,) = [number for number, text in enumerate(texts) if "Total EUR" in text]
        before_totals = texts[with_totals].partition("Total EUR")[0]
        assert last.rsplit(maxsplit=1)[-1] in before_totals
        (with_signatures,) = [number for number, text in enumerate(texts) if "Authorised for" in text]
        assert with_signatures == len(texts) - 1
        before_signatures = " ".join(texts[-1].partition("Authorised for")[0].split())
        if terms is None:
            assert with_totals == with_signatures
        else:
            assert before_signatures.endswith(" ".join(terms.split()[-3:]))


def test_long_texts_wrap_and_nothing_is_lost() -> None:
    sentence = "".join(f"word{n} " for n in range(250))
    unbroken = "".join(f"{n:05d}" for n in range(400))
    column = "\n".join(f"row {n}" for n in range(200))
    document = order(line(1, sentence), line(2, unbroken, sku="S" * 200), line(3, column), line(4, "\tafter\r\nthat"))
    long = replace(document, terms=f"{sentence}\n{unbroken}", buyer=Party("B" * 300), prepared_by="P" * 200)
    reader = read(long)
    text = "".join("".join(page.extract_text() for page in reader.pages).split())
    assert text.count("".join(sentence.split())) == 1  # in the terms: in the table other columns come between the pages
    assert all(text.count(f"word{n}") >= 2 for n in (0, 100, 249))
    assert all(f"row{n}" in text for n in range(200))
    assert unbroken in text
    assert "B" * 300 in text
    assert is_archival(reader)


def test_all_of_many_cost_centres_are_printed_and_nothing_is_lost() -> None:
    # More than fit on one page, and on another one, before the lines.
    cost_centres = tuple(f"{number:02}-" + "x" * 97 for number in range(30))
    lines = (replace(line(number), cost_centre=cost_centre) for number, cost_centre in enumerate(cost_centres, start=1))
    document = replace(order(*lines), cost_centres=cost_centres, delivery_date=date(2026, 4, 2))
    text = "".join(words(document).split())
    assert "Deliverydate2April2026" in text
    # In the head and on their lines; some begin on one page and end on the next.
    assert all(text.count(cost_centre[:4]) == 2 for cost_centre in cost_centres)
    assert text.count("x") >= 2 * 97 * len(cost_centres)


def test_text_is_never_markup() -> None:
    hostile = '#panic("x") $x$ *a* @ref _b_ `c` <l> // not /* a */ comment = \\u{41} #read("/etc/passwd") [z]'
    document = replace(order(line(description=hostile)), terms=f"= {hostile}", buyer=Party(hostile))
    assert words(document).count(hostile) >= 3


def test_other_scripts_have_their_glyphs() -> None:
    document = replace(
        order(line(description="精密ベアリング（直径 50 mm）"), line(2, "مضخة هيدروليكية ٢٥٠ بار"), currency="EUR"),
        buyer=Party("株式会社東京製作所"),
        supplier=Party("شركة الخليج للصناعات", "서울특별시 강남구\nΑθήνα\nМосква\nĐà Nẵng"),
    )
    reader = read(document)
    text = reader.pages[0].extract_text()
    for expected in ("精密ベアリング", "株式会社東京製作所", "서울특별시 강남구", "Αθήνα", "Москва", "Đà Nẵng"):
        assert expected in text
    assert is_archival(reader)


@pytest.mark.parametrize(
    ("font", "text"),
    [
        ("NotoEmoji", "ship it 🚀 👩‍🔧 👍🏽 🇩🇪 1️⃣ ❤️ ☑"),
        ("NotoEmoji", "🚀" * 300),
        ("NotoSansSymbols", "✔ ⚕"),
        ("NotoSansHebrew", "משאבה הידראולית"),
        ("NotoSansThai", "ปั๊มไฮดรอลิกสำหรับโรงงานอุตสาหกรรมขนาดใหญ่"),
        ("NotoSans", "हाइड्रोलिक पंप"),
        ("NotoSansBengali", "হাইড্রোলিক পাম্প"),
        ("NotoSansTamil", "ஹைட்ராலிக் பம்ப்"),
        ("NotoSansKannada", "ವಿಶ್ವವಿದ್ಯಾಲಯಗಳಲ್ಲಿರುವವರೆಲ್ಲರಿಗೂ"),
        ("NotoSansMyanmar", "ပန့်စက်ရုံကြီးများအတွက်မြန်မာနိုင်ငံ"),
        ("NotoSansKhmer", "ម៉ាស៊ីនបូមធារាសាស្ត្រ"),
        ("NotoSansArmenian", "հիդրավլիկ պոմպ"),
        ("NotoSansGeorgian", "ჰიდრავლიკური ტუმბო"),
        ("NotoSansEthiopic", "ሃይድሮሊክ ፓምፕ"),
    ],
)
def test_emoji_and_every_packaged_script_come_from_their_font(font: str, text: str) -> None:
    reader = read(order(line(description=text)))
    assert font in fonts(reader)
    assert is_archival(reader)


@pytest.mark.parametrize(
    ("font", "words"),
    [
        ("NotoSansKannada", "ವಿಶ್ವವಿದ್ಯಾಲಯಗಳಲ್ಲಿ ರುವವರೆಲ್ಲರಿಗೂ"),
        ("NotoSansMyanmar", "ပန့်စက်ရုံကြီးများ အတွက်မြန်မာနိုင်ငံ"),
        ("NotoSansArabic", "أفاستسقيناكموها أفاستسقيناكموها"),
    ],
)
def test_a_long_word_keeps_its_letters_joined(font: str, words: str) -> None:
    """The text has the same glyphs as its words."""
    parts, whole = (fonts(read(order(line(description=it)))) for it in (words, words.replace(" ", "")))
    assert parts[font] == whole[font]


@pytest.mark.parametrize("text", ["\ue000", "བོད", "🚀\ue000" * 100])
def test_a_character_without_a_glyph_does_not_stop_the_order(text: str) -> None:
    reader = read(order(line(description=f"Before {text} after")))
    assert "Before" in reader.pages[0].extract_text()
    assert not is_archival(reader)


def test_metadata() -> None:
    reader = read(order(line()))
    assert reader.metadata is not None
    assert reader.metadata.title == "PO-2026-000123"
    assert reader.metadata.author == BUYER.name
    assert reader.metadata.creation_date is not None
    assert reader.metadata.creation_date.date() == date(2026, 3, 12)
    assert str(reader.root_object["/Lang"]) == "en"
    assert reader.root_object["/MarkInfo"]["/Marked"]  # type: ignore[index]


def test_the_same_order_gives_the_same_bytes_from_every_thread() -> None:
    orders = [many(60), order(line(description="🚀 \ue000")), many(5)] * 2
    with ThreadPoolExecutor(3) as threads:
        parallel = list(threads.map(digest, orders))
    assert parallel == [digest(document) for document in orders]


def test_another_process_gives_the_same_bytes() -> None:
    code = (
        "import hashlib; from po_api.purchase_orders import typesetting;"
        " from support.order_documents import many, printed_order;"
        " print(hashlib.sha256(typesetting.typeset(printed_order(many(60)), 2)).hexdigest())"
    )
    command = [sys.executable, "-c", f"import sys; sys.path = {sys.path!r}; {code}"]
    other = subprocess.run(command, capture_output=True, text=True, check=True)
    assert other.stdout.strip() == digest(many(60))


CANCELLED = cancelled_mark(datetime(2026, 5, 2, 23, 30, tzinfo=UTC), "Europe/Berlin")
DRAFT = draft_mark(datetime(2026, 5, 2, 23, 30, tzinfo=UTC), "Europe/Berlin")


def test_every_page_of_a_marked_document_bears_the_mark_and_all_else_is_unchanged() -> None:
    plain, marked = (
        PdfReader(io.BytesIO(typeset(printed_order(many(60), mark=mark), CURRENT_TEMPLATE)))
        for mark in (None, CANCELLED)
    )
    assert is_archival(marked)
    first, *others = [" ".join(page.extract_text().split()) for page in marked.pages]
    assert "Cancelled on 3 May 2026. This order is not valid." in first
    assert all("· CANCELLED" in page for page in others)
    assert "CANCELLED" not in "".join(page.extract_text() for page in plain.pages)
    every = " ".join([first, *others])
    assert "Date 12 March 2026" in every
    assert all(f"Steel bolt no. {n}." in every for n in range(1, 61))


def test_a_draft_has_no_number_and_no_date() -> None:
    draft = printed_order(replace(many(60), issued_on=None), number=None, mark=DRAFT)
    reader = PdfReader(io.BytesIO(typeset(draft, CURRENT_TEMPLATE)))
    first, *others = [" ".join(page.extract_text().split()) for page in reader.pages]
    assert "Draft. This is not an order." in first
    assert all("Purchase order · DRAFT" in page for page in others)
    assert "PO-2026" not in "".join([first, *others])
    assert "Date 12 March 2026" not in first
    assert is_archival(reader)


def test_released_templates_are_never_edited() -> None:
    """Orders that were issued with one have to look the same for ever: a change is a template with the next number."""
    folder = resources.files("po_api.purchase_orders") / "templates"
    released = {item.name: hashlib.sha256(item.read_bytes()).hexdigest() for item in folder.iterdir()}
    assert released == {
        "purchase_order_1.typ": "3e6866e1802a46eecf166510525881985ce15cb046e8bce40eb8d581d0a02543",
        "purchase_order_2.typ": "eaed2b06ad0f8adf1c820b4fa701e464f065813b8aff721440f473ced9c2c419",
    }


@pytest.mark.parametrize("template", range(1, CURRENT_TEMPLATE + 1))
def test_every_template_prints_the_sheets_of_its_time(template: int) -> None:
    """The sheet that orders had when the template was released, as they have kept it."""
    sheet = (Path(__file__).parent / "sheets" / f"{template}.json").read_text()
    for mark in (None, CANCELLED):
        reader = PdfReader(io.BytesIO(typeset(printed(sheet, number="PO-2026-000123", mark=mark), template, png())))
        text = " ".join(" ".join(page.extract_text() for page in reader.pages).split())
        assert "Purchase order PO-2026-000123" in text
        assert "Hydraulic pump SKU HP-250 · Needed by 2 April 2026 2 pcs 1,249.90 19% 2,499.80" in text
        assert "Total EUR 2,974.76" in text
        assert is_archival(reader)


def test_a_very_long_order() -> None:
    reader = read(many(2_000))
    last = reader.pages[-1].extract_text()
    assert f"Page {len(reader.pages)} of {len(reader.pages)}" in last
    assert "Authorised for" in last
    assert is_archival(reader)
