"""The document as the docs pages show it: shorter than what generators of clients read."""

from copy import deepcopy

from po_api.web.cookies import access_cookie
from po_api.web.openapi.declarations import FAMILIES
from po_api.web.openapi.parts import Json, operations, referred
from po_api.web.openapi.responses import SHARED_PROBLEMS

_FORM = "multipart/form-data"
_HEADING = "## Problems of every operation"


def displayed(spec: Json) -> Json:
    """A copy without what is the same for all operations, and without what a page in a browser cannot send."""
    shown = deepcopy(spec)
    _name_shared_problems_once(shown)
    # A script cannot set the cookie, and the field for it would be the first one of the dialog.
    del shown["components"]["securitySchemes"][access_cookie.scheme_name]
    shown["security"] = [each for each in shown["security"] if access_cookie.scheme_name not in each]
    for _, _, operation in operations(shown):
        form = operation.get("requestBody", {}).get("content", {}).get(_FORM)
        if form is not None:
            _empty_optional_fields(shown["components"]["schemas"][referred(form["schema"])])
    return shown


def _name_shared_problems_once(spec: Json) -> None:
    for _, _, operation in operations(spec):
        responses = operation["responses"].items()
        operation["responses"] = {status: each for status, each in responses if int(status) not in SHARED_PROBLEMS}
    components = spec["components"]["responses"]
    texts = (f"{status} {components[FAMILIES[status].__name__]['description']}" for status in sorted(SHARED_PROBLEMS))
    spec["info"]["description"] += f"\n\n{_HEADING}\n\n" + "\n".join(f"- {text}" for text in texts)


def _empty_optional_fields(schema: Json) -> None:
    """The page fills in fields of a form with their example, and sends them: an empty field counts as omitted."""
    for name, field in schema["properties"].items():
        if name not in schema["required"]:
            field["examples"] = [""]
