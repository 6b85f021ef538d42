"""Request bodies: without redundant defaults, and updates are merge patches."""

from po_api.web.openapi.parts import Json, operations


def complete_bodies(spec: Json) -> None:
    """References have no default beside them, and a PATCH takes a merge patch.

    It takes `application/json`, too (api.md); with both in the document a generated client would have a choice that
    makes no difference, and some generators fail.
    """
    for _, method, operation in operations(spec):
        content = _content(operation)
        for part in content.values():
            part["schema"].pop("default", None)
        if method == "patch":
            content["application/merge-patch+json"] = content.pop("application/json")


def _content(operation: Json) -> Json:
    content: Json = operation.get("requestBody", {}).get("content", {})
    return content
