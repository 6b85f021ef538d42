"""Import and export over HTTP; the contents of files are tested in test_imports and test_exports."""

import csv
from io import StringIO
from typing import Any

import httpx
import pytest

from po_api.porfs.imports import MAX_FILE_BYTES, FileType, parse
from support.organisations import LINE, TestOrganisation, created, ok, refused

HEADER = "description,sku,quantity,unit,unit_price,discount_percent,tax_rate,needed_by"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
MEDIA_TYPES = {"csv": "text/csv; charset=utf-8", "xlsx": XLSX}
FORMATS = pytest.mark.parametrize("kind", list(FileType))


def table(*rows: str) -> bytes:
    return "\n".join([HEADER, *rows]).encode()


GOOD = table("Desk lamp,L-1,10,C62,24.90,0,20,2030-01-31", "Bulb,,2.5,KGM,1.0005,10,5,")


async def send(
    organisation: TestOrganisation, content: bytes, *, key: str | None = None, **fields: str
) -> httpx.Response:
    files = {"file": ("lines.csv", content)}
    data = {"title": "Imported"} | fields
    headers = {"Idempotency-Key": key} if key else {}
    return await organisation.requester.post("/porfs/import", files=files, data=data, headers=headers)


def contents(porf: httpx.Response) -> list[dict[str, Any]]:
    """The lines without the fields that an import sets itself."""
    return [{name: line[name] for name in line if name not in ("id", "position")} for line in porf.json()["lines"]]


async def listed(organisation: TestOrganisation) -> list[Any]:
    items: list[Any] = (await ok(organisation.requester.get("/porfs"))).json()["items"]
    return items


async def test_a_file_becomes_a_draft_with_all_that_was_sent_along(organisation: TestOrganisation) -> None:
    fields = {"justification": "Dark\r\nhere", "cost_centre": "4711", "needed_by": "2030-02-01", "currency": "KWD"}
    porf = await created(send(organisation, GOOD, supplier_id=str(organisation.supplier_id), **fields))
    shown = porf.json()
    assert porf.headers["Location"] == f"/api/v1/porfs/{shown['id']}"
    assert porf.headers["ETag"].startswith('"1-')
    assert {name: shown[name] for name in fields} == fields
    assert (shown["supplier_id"], shown["requester_id"]) == (organisation.supplier_id, organisation.requester.user_id)
    assert [(line["position"], line["quantity"], line["net"]) for line in shown["lines"]] == [
        (1, "10", "249.000"),
        (2, "2.5", "2.251"),
    ]


async def test_one_bad_row_of_a_thousand_and_nothing_is_written(organisation: TestOrganisation) -> None:
    rows = [f"Article {row},,1,C62,1.00,0,20," for row in range(2, 1002)]
    rows[700] = "Article,,none,C62,1.00,0,120,"
    problem = await refused(send(organisation, table(*rows)), 422, "import_failed")
    assert [(error["location"], error["pointer"]) for error in problem["errors"]] == [
        ("file", "/rows/702/quantity"),
        ("file", "/rows/702/tax_rate"),
    ]
    assert await listed(organisation) == []
    assert (await created(send(organisation, GOOD))).json()["number"].endswith("-000001")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "invalid_file"),
        (b"%PDF-1.7", "invalid_file"),
        (b"\x89PNG\r\n\x1a\n\xff", "invalid_file"),
        (b"PK\x03\x04broken", "invalid_file"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "invalid_file"),
        (table("x,,1,C62,1,0,0," + "y" * 200_000), "import_failed"),
        (table("x,,99999999999999,C62,99999999999999,0,0,"), "amount_too_large"),
    ],
)
async def test_a_file_that_is_none_is_refused(organisation: TestOrganisation, content: bytes, code: str) -> None:
    await refused(send(organisation, content), 422, code)
    assert await listed(organisation) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", ""),
        ("title", "a\x00b"),
        ("title", "x" * 256),
        ("currency", "eur"),
        ("supplier_id", "none"),
        ("supplier_id", "0"),
        ("needed_by", "31.12.2030"),
        ("cost_centre", "a\nb"),
    ],
)
async def test_a_wrong_form_field_is_refused_with_its_pointer(
    organisation: TestOrganisation, field: str, value: str
) -> None:
    problem = await refused(send(organisation, GOOD, **{field: value}), 422, "validation_failed")
    assert [error["pointer"] for error in problem["errors"]] == [f"/{field}"]


@pytest.mark.parametrize(
    ("name", "near"), [("curency", "currency"), ("cost_center", "cost_centre"), ("Title", "title"), ("secret", None)]
)
@pytest.mark.parametrize("value", ["EUR", ""])
async def test_a_form_field_that_does_not_exist_is_refused(
    organisation: TestOrganisation, name: str, value: str, near: str | None
) -> None:
    problem = await refused(send(organisation, GOOD, **{name: value}), 422, "validation_failed")
    (error,) = problem["errors"]
    assert (error["location"], error["pointer"], error["code"]) == ("body", "", "unknown_field")
    suggestion = "." if near is None else f"; did you mean {near}?"
    assert error["detail"].startswith(f"unknown field{suggestion} Allowed: file, title, justification")
    assert "secret" not in str(problem)
    assert await listed(organisation) == []


@pytest.mark.parametrize("values", [["first", "last"], ["", "last"], ["last", ""], ["same", "same"]])
async def test_a_form_field_that_appears_twice_is_refused(organisation: TestOrganisation, values: list[str]) -> None:
    files = [("file", ("lines.csv", GOOD)), *(("title", (None, value)) for value in values)]
    files += [("unknown", (None, "1")), ("unknown", (None, "2"))]
    problem = await refused(organisation.requester.post("/porfs/import", files=files), 422, "validation_failed")
    assert [(error["pointer"], error["code"]) for error in problem["errors"]] == [("/title", "duplicate_field")]
    assert await listed(organisation) == []


async def test_a_form_has_one_file(organisation: TestOrganisation) -> None:
    files = [("file", ("a.csv", GOOD)), ("file", ("b.csv", GOOD)), ("title", (None, "Imported"))]
    problem = await refused(organisation.requester.post("/porfs/import", files=files), 422, "validation_failed")
    assert [(error["pointer"], error["code"]) for error in problem["errors"]] == [("/file", "duplicate_field")]


async def test_an_unknown_supplier_is_refused(organisation: TestOrganisation) -> None:
    problem = await refused(send(organisation, GOOD, supplier_id=str(2**62)), 422, "unknown_supplier")
    assert [error["pointer"] for error in problem["errors"]] == ["/supplier_id"]


async def test_a_form_without_a_file_or_a_title_is_refused(organisation: TestOrganisation) -> None:
    for options, pointers in (
        ({"files": {"file": ("l.csv", GOOD)}}, {"/title"}),
        ({"files": {"other": ("l.csv", GOOD)}, "data": {"title": "x"}}, {"/file", ""}),
    ):
        problem = await refused(organisation.requester.post("/porfs/import", **options), 422, "validation_failed")
        assert {error["pointer"] for error in problem["errors"]} == pointers


@pytest.mark.parametrize("content_type", ["application/json", "text/csv", "multipart/form-data", "text/plain"])
async def test_a_body_that_is_no_form_is_refused(organisation: TestOrganisation, content_type: str) -> None:
    headers = {"Content-Type": content_type}
    answer = await organisation.requester.post("/porfs/import", content=b"{}", headers=headers)
    assert answer.status_code in (400, 415, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_form_that_is_no_utf_8_is_refused(organisation: TestOrganisation) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="title"\r\n\r\n\xff\xfe\r\n--x--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = await organisation.requester.post("/porfs/import", content=body, headers=headers)
    assert answer.status_code in (400, 422), answer.text


async def test_a_file_over_the_limit_is_too_large(organisation: TestOrganisation) -> None:
    await refused(send(organisation, b"x" * (MAX_FILE_BYTES + 1)), 413, "payload_too_large")


async def test_a_body_over_the_limit_is_refused_with_and_without_content_length(organisation: TestOrganisation) -> None:
    large = b"x" * (13 * 1024 * 1024)
    await refused(send(organisation, large), 413, "payload_too_large")

    async def pieces() -> Any:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="l.csv"\r\n\r\n'
        for start in range(0, len(large), 65_536):
            yield large[start : start + 65_536]

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = organisation.requester.post("/porfs/import", content=pieces(), headers=headers)
    await refused(answer, 413, "payload_too_large")


async def test_an_import_repeated_with_its_key_is_one_import(organisation: TestOrganisation) -> None:
    key = "import-once"
    first = await created(send(organisation, GOOD, key=key))
    again = await created(send(organisation, GOOD, key=key))  # with another boundary
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (again.json(), again.headers["Location"]) == (first.json(), first.headers["Location"])
    await refused(send(organisation, GOOD + b"\n", key=key), 422, "idempotency_key_reused")
    await refused(send(organisation, GOOD, key=key, title="Other"), 422, "idempotency_key_reused")
    assert len(await listed(organisation)) == 1


async def test_a_refused_import_leaves_its_key_free(organisation: TestOrganisation) -> None:
    key = "second-try"
    await refused(send(organisation, table("x,,0,C62,1,0,0,"), key=key), 422, "import_failed")
    await created(send(organisation, GOOD, key=key))


async def test_who_may_not_raise_requests_may_not_import_them(organisation: TestOrganisation) -> None:
    files = {"file": ("l.csv", GOOD)}
    for member in (organisation.approver, organisation.auditor):
        await refused(member.post("/porfs/import", files=files, data={"title": "x"}), 403, "missing_role")


@FORMATS
async def test_the_template_can_be_filled_in_and_imported(organisation: TestOrganisation, kind: str) -> None:
    template = await ok(organisation.requester.get("/porfs/import-template", params={"format": kind}))
    assert template.headers["content-type"] == MEDIA_TYPES[kind]
    assert template.headers["content-disposition"] == f'attachment; filename="porf-lines.{kind}"'
    assert template.headers["x-content-type-options"] == "nosniff"
    porf = await created(send(organisation, template.content))
    assert porf.json()["lines"][0]["description"] == "Laptop, 14 inch"


NASTY = [
    "=1+1",
    "@SUM(A1)",
    "-5",
    "+44",
    "'=x",
    "#N/A",
    '"a";b,c',
    "two\nlines",
    "💡 مصباح デスク",
    "0012",
    "1e5",
    "TRUE",
]


@FORMATS
async def test_exported_lines_are_imported_as_they_were(organisation: TestOrganisation, kind: str) -> None:
    lines = [LINE | {"description": text, "sku": text.replace("\n", " ")} for text in NASTY]
    lines += [
        LINE | {"quantity": "99999999999999.9999", "unit_price": "0.0001", "discount_percent": "33.3333"},
        LINE | {"quantity": "0.0001", "unit_price": "12345678901234.5678", "unit": "HUR", "needed_by": "2030-01-31"},
    ]
    source = await organisation.draft(lines=lines)
    exported = await ok(organisation.requester.get(f"/porfs/{source.json()['id']}/export", params={"format": kind}))
    assert exported.headers["content-type"] == MEDIA_TYPES[kind]
    assert exported.headers["content-disposition"] == f'attachment; filename="{source.json()["number"]}.{kind}"'
    copy = await created(send(organisation, exported.content, supplier_id=str(organisation.supplier_id)))
    assert contents(copy) == contents(source)
    assert copy.json()["total"] == source.json()["total"]


async def test_what_a_spreadsheet_would_run_is_neutralised_and_numbers_stay_numbers(
    organisation: TestOrganisation,
) -> None:
    source = await organisation.draft(
        lines=[LINE | {"description": text} for text in ("=1+1", "@x", "-1", "+1", "Lamp")]
    )
    exported = await ok(organisation.requester.get(f"/porfs/{source.json()['id']}/export"))
    rows = list(csv.DictReader(StringIO(exported.content.decode("utf-8-sig"), newline="")))
    assert [row["description"] for row in rows] == ["'=1+1", "'@x", "'-1", "'+1", "Lamp"]
    assert {(row["quantity"], row["net"]) for row in rows} == {("10.0000", "249.00")}
    assert len(parse(exported.content)) == 5


@FORMATS
async def test_a_request_without_lines_is_a_file_with_a_header(organisation: TestOrganisation, kind: str) -> None:
    source = await organisation.draft(lines=[])
    exported = await ok(organisation.requester.get(f"/porfs/{source.json()['id']}/export", params={"format": kind}))
    assert parse(exported.content) == []


async def test_there_are_two_kinds_of_files(organisation: TestOrganisation) -> None:
    for path in ("import-template", f"{(await organisation.draft()).json()['id']}/export"):
        await refused(organisation.requester.get(f"/porfs/{path}", params={"format": "pdf"}), 422, "validation_failed")


async def test_an_import_without_a_body_lacks_its_fields(organisation: TestOrganisation) -> None:
    for headers in ({}, {"Idempotency-Key": "without a body"}):
        problem = await refused(organisation.requester.post("/porfs/import", headers=headers), 422, "validation_failed")
        assert {item["pointer"] for item in problem["errors"]} >= {"/title"}
