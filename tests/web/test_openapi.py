"""The OpenAPI document: complete and exact enough for generators, and the same as the committed one."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from fastapi import FastAPI

from po_api.web.errors import MEDIA_TYPE
from support.forked import ForkedServer, po_api
from support.operations import ANSWERS_WITH_SECRETS
from support.organisations import LINE, TestOrganisation, created, ok

pytestmark = pytest.mark.heavy

Json = dict[str, Any]


@pytest.fixture(scope="module")
def document(app: FastAPI) -> Json:
    return app.openapi()


def _resolve(document: Json, part: Json) -> Json:
    if "$ref" not in part:
        return part
    kind, name = part["$ref"].split("/")[-2:]
    return _resolve(document, document["components"][kind][name])


def _operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def _parameters(document: Json, operation: Json) -> dict[str, Json]:
    found = [_resolve(document, item) for item in operation.get("parameters", [])]
    return {parameter["name"]: parameter for parameter in found}


def _answers(document: Json, operation: Json) -> dict[str, Json]:
    return {status: _resolve(document, answer) for status, answer in operation["responses"].items()}


def _parts(part: Any) -> Iterator[Json]:
    """Every object inside `part`."""
    if isinstance(part, dict):
        yield part
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from _parts(inner)


def _without_texts(part: Any) -> Any:
    """`part` without texts: a change of the rest is a change of the API."""
    if isinstance(part, list):
        return [_without_texts(inner) for inner in part]
    if not isinstance(part, dict):
        return part
    # A field of such a name is an object.
    texts = {name for name in ("summary", "description", "title") if isinstance(part.get(name), str)}
    return {name: _without_texts(inner) for name, inner in part.items() if name not in {*texts, "example", "examples"}}


def test_the_committed_document_is_the_present_one(project: Path, tmp_path: Path) -> None:
    """Run `make openapi` after a change; changes must be compatible with clients."""
    output = tmp_path / "printed"
    assert ForkedServer(po_api, "openapi", environment={}, directory=project, log=output).wait() == 0, (
        output.read_text()
    )
    printed = output.read_text()
    committed = (project / "openapi.json").read_text()
    assert _without_texts(json.loads(printed)) == _without_texts(json.loads(committed)), "the API has changed"
    assert printed == committed, "only texts have changed; run: make openapi"
    # What operations have in common is in components. Events have a schema for each form of their data.
    assert len(printed) / sum(map(len, json.loads(printed)["paths"].values())) < 4_850


def test_it_is_openapi_3_1(document: Json) -> None:
    assert re.fullmatch(r"3\.1\.\d", document["openapi"])
    assert {"title", "version", "description", "license"} <= set(document["info"])


def test_operation_ids_are_unique_and_camel_case(document: Json) -> None:
    ids = Counter(operation["operationId"] for _, _, operation in _operations(document))
    assert max(ids.values()) == 1
    assert all(re.fullmatch(r"[a-z]+([A-Z][a-z]+)*", operation_id) for operation_id in ids)


def test_every_operation_has_a_summary_and_a_description(document: Json) -> None:
    tags = {tag["name"] for tag in document["tags"]}
    for method, path, operation in _operations(document):
        assert operation["summary"], (method, path)
        assert len(operation["description"]) >= len(operation["summary"])
        assert len(operation["tags"]) == 1
        assert set(operation["tags"]) <= tags
        for parameter in _parameters(document, operation).values():
            assert parameter["description"]


def test_models_for_writing_and_reading_are_separate(document: Json) -> None:
    names = set(document["components"]["schemas"])
    assert not [name for name in names if name.endswith(("-Input", "-Output"))]
    assert not names & {"HTTPValidationError", "ValidationError"}
    assert not [name for name in names if name.startswith("Body_")]
    # Two classes of the same name have those of their modules, which generated clients cannot tell from each other.
    assert not [name for name in names if "__" in name]


def test_decimals_are_strings_with_a_pattern(document: Json) -> None:
    decimals = [part for part in _parts(document) if part.get("format") == "decimal"]
    assert len(decimals) > 30
    for schema in decimals:
        assert schema["type"] == "string"
        assert re.fullmatch(schema["pattern"], "12.5")
        assert not re.fullmatch(schema["pattern"], "1e3")
        assert not re.fullmatch(schema["pattern"], "-1")
    assert not [part for part in _parts(document) if part.get("type") == "number"]


def test_amounts_are_decimals_wherever_they_occur(document: Json) -> None:
    amount = re.compile(r"net|tax|total|rate|(unit_)?price|quantity|\w+_quantity|\w+_percent|tax_rate|approval_limit")
    for name, schema in document["components"]["schemas"].items():
        for field, shape in schema.get("properties", {}).items():
            if amount.fullmatch(field):
                shapes = [part.get("format") for part in shape.get("anyOf", [shape]) if part.get("type") != "null"]
                assert shapes == ["decimal"], (name, field)


def test_optional_parameters_are_left_out_and_not_null(document: Json) -> None:
    for _, path, operation in _operations(document):
        for parameter in _parameters(document, operation).values():
            assert not [part for part in _parts(parameter["schema"]) if part.get("type") == "null"], path
            assert "anyOf" not in parameter["schema"] or (path, parameter["name"]) == (
                "/api/v1/approvals",
                "waiting_for",
            )


def test_ids_are_integers_that_fit(document: Json) -> None:
    bounds = {part["maximum"] for part in _parts(document) if part.get("type") == "integer" and "maximum" in part}
    assert all(isinstance(bound, int) and bound < 2**63 for bound in bounds)


# Comments, copies, simulations, and what is sent again change nothing that has a version.
ACTION = re.compile(r"(\{\w+\}|/me)/(?!comments|copy|test|replay|deliveries/|retry|simulate)")


def test_changes_require_if_match_and_take_a_merge_patch(document: Json) -> None:
    for method, path, operation in _operations(document):
        unversioned = (
            *("sessions", "api-keys", "deliveries", "exchange-rates", "external-references", "filings"),
            *("notifications", "approval-delegations"),
        )
        is_versioned = not path.startswith(tuple(f"/api/v1/{name}" for name in unversioned)) and "/files" not in path
        is_action = method == "post" and is_versioned and ACTION.search(path)
        is_change = method in {"patch", "put", "delete"} and is_versioned
        if_match = _parameters(document, operation).get("If-Match")
        assert (if_match is not None and if_match["required"]) == bool(is_action or is_change), (method, path)
        assert {"412", "428"} <= set(operation["responses"]) or if_match is None
        if method == "patch":
            content = operation["requestBody"]["content"]
            assert set(content) == {"application/merge-patch+json"}


def _takes_no_key(operation: Json) -> bool:
    """Answers with a secret are not stored, and suppliers have no user whose keys these could be."""
    return operation["operationId"] in ANSWERS_WITH_SECRETS | {"viewLinkedOrder"}


def test_every_post_takes_an_idempotency_key(document: Json) -> None:
    for method, path, operation in _operations(document):
        key = _parameters(document, operation).get("Idempotency-Key")
        assert (key is not None) == (method == "post" and not _takes_no_key(operation)), path
        if key is not None:
            assert not key["required"]
            assert "409" in operation["responses"]


def test_errors_are_problems_with_exact_statuses(document: Json) -> None:
    for method, path, operation in _operations(document):
        answers = _answers(document, operation)
        assert all(re.fullmatch(r"\d{3}", status) for status in answers), path
        if not path.startswith("/api/"):
            continue
        assert {"400", "422", "429", "500", "503"} <= set(answers), path
        assert {"401", "403"} <= set(answers) or operation["security"] == [], path
        assert ("415" in answers) == ("413" in answers) == ("requestBody" in operation), (method, path)
        for status, answer in answers.items():
            if status >= "400":
                assert set(answer["content"]) == {MEDIA_TYPE}
                assert answer["content"][MEDIA_TYPE]["schema"] == {"$ref": "#/components/schemas/Problem"}
                assert answer["content"][MEDIA_TYPE]["example"]["status"] == int(status)


def test_headers_are_documented(document: Json) -> None:
    for method, path, operation in _operations(document):
        answers = _answers(document, operation)
        assert all("X-Request-ID" in answer["headers"] for answer in answers.values())
        if not path.startswith("/api/"):
            continue
        assert all({"RateLimit", "RateLimit-Policy"} <= set(answer["headers"]) for answer in answers.values())
        assert {"Retry-After"} <= set(answers["429"]["headers"]) & set(answers["503"]["headers"])
        success = next(answer["headers"] for status, answer in answers.items() if status < "400")
        assert ("Idempotent-Replayed" in success) == (method == "post" and not _takes_no_key(operation))
        assert ("304" in answers) == (method == "get" and "ETag" in success)
        assert ("Link" in success) == ("cursor" in _parameters(document, operation))


def test_files_are_binary_with_their_media_type(document: Json) -> None:
    sheet = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    files = {
        ("/api/v1/porfs/import-template"): {"text/csv", sheet},
        ("/api/v1/porfs/{porf_id}/export"): {"text/csv", sheet},
        ("/api/v1/purchase-orders/{order_id}/document.pdf"): {"application/pdf"},
        ("/api/v1/purchase-orders/{order_id}/document.xml"): {"application/xml"},
    }
    for path, media_types in files.items():
        content = document["paths"][path]["get"]["responses"]["200"]["content"]
        assert set(content) == media_types
        assert all(part["schema"] == {"type": "string", "format": "binary"} for part in content.values())
    form = document["paths"]["/api/v1/porfs/import"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert _resolve(document, form["schema"])["properties"]["file"] == {"type": "string", "format": "binary"}


def test_bodies_and_answers_have_examples_that_are_valid(document: Json) -> None:
    # By schema: nearly all of the time would be that of reading the components for each example.
    shown_by_schema: dict[str, list[tuple[str, Json]]] = {}
    for _, path, operation in _operations(document):
        bodies = [*_answers(document, operation).values(), operation.get("requestBody", {})]
        for media_type, part in ((kind, part) for body in bodies for kind, part in body.get("content", {}).items()):
            if "json" not in media_type:
                continue
            examples = [_resolve(document, shown)["value"] for shown in part.get("examples", {}).values()]
            shown = shown_by_schema.setdefault(json.dumps(part["schema"]), [])
            shown += [(path, example) for example in examples or [part["example"]]]
    for schema, shown in shown_by_schema.items():
        validator = jsonschema_rs.validator_for(json.loads(schema) | {"components": document["components"]})
        for path, example in shown:
            assert [str(error) for error in validator.iter_errors(example)] == [], path
    assert sum(map(len, shown_by_schema.values())) > 2000


def test_all_components_are_used(document: Json) -> None:
    used = {part["$ref"] for part in _parts(document) if "$ref" in part}
    for kind in ("schemas", "responses", "headers", "examples", "parameters"):
        for name in document["components"][kind]:
            assert f"#/components/{kind}/{name}" in used


def _example(document: Json, name: str) -> Json:
    example: Json = document["components"]["examples"][name]["value"]
    return example


async def test_the_examples_work_when_they_are_tried(organisation: TestOrganisation, document: Json) -> None:
    draft = await created(organisation.requester.post("/porfs", json=_example(document, "PorfCreate")))
    path = f"/porfs/{draft.json()['id']}"
    line = await created(
        organisation.requester.post(f"{path}/lines", etag='"1"', json=_example(document, "PorfLineCreate"))
    )
    etag = line.headers["ETag"]
    changed = await ok(organisation.requester.patch(path, etag=etag, json=_example(document, "PorfUpdate")))
    etag = changed.headers["ETag"]
    line_path = f"{path}/lines/{line.json()['id']}"
    changed = await ok(organisation.requester.patch(line_path, etag=etag, json=_example(document, "PorfLineUpdate")))
    note = _example(document, "ActionNote")
    etag = changed.headers["ETag"]
    await created(organisation.requester.post(f"{path}/comments", json=_example(document, "CommentCreate")))
    pending = await ok(organisation.requester.post(f"{path}/submit", etag=etag, json=note))
    approved = await ok(organisation.approver.post(f"{path}/approve", etag=pending.headers["ETag"], json=note))
    supplier = await created(
        organisation.buyer.post("/suppliers", json=_example(document, "SupplierCreate") | {"name": "Another one"})
    )
    body = _example(document, "ConvertPorf") | {"supplier_id": supplier.json()["id"]}
    order = await created(organisation.buyer.post(f"{path}/purchase-orders", etag=approved.headers["ETag"], json=body))
    order_path = f"/purchase-orders/{order.json()['id']}"
    update = _example(document, "PurchaseOrderUpdate")
    await ok(organisation.buyer.patch(order_path, etag=order.headers["ETag"], json=update))
    current = await ok(organisation.admin.get("/organisations/current"))
    update = _example(document, "OrganisationUpdate")
    await ok(organisation.admin.patch("/organisations/current", etag=current.headers["ETag"], json=update))


async def test_the_answers_have_the_headers_that_are_documented(organisation: TestOrganisation, document: Json) -> None:
    draft = await organisation.draft()
    path = f"/porfs/{draft.json()['id']}"
    line = await created(organisation.requester.post(f"{path}/lines", etag=draft.headers["ETag"], json=LINE))
    answers = {
        ("/api/v1/porfs", "post"): draft,
        ("/api/v1/porfs/{porf_id}", "get"): await ok(organisation.requester.get(path)),
        ("/api/v1/porfs/{porf_id}/lines", "post"): line,
        ("/api/v1/porfs/{porf_id}/history", "get"): await ok(organisation.requester.get(f"{path}/history?limit=1")),
        ("/api/v1/users/me", "get"): await ok(organisation.requester.get("/users/me")),
    }
    for (path, method), answer in answers.items():
        documented = set(document["paths"][path][method]["responses"][str(answer.status_code)]["headers"])
        assert {name for name in documented if name not in answer.headers} <= {"Idempotent-Replayed"}, path
