"""The OpenAPI document: what FastAPI derives, made exact for generators and linters (api.md).

Each module completes one part of the document; `document` lists the passes in their order.
"""

from po_api.web.openapi.declarations import KEY_SCOPE, binary, problems, redirect, tagged
from po_api.web.openapi.document import all_routes, document

__all__ = ["KEY_SCOPE", "all_routes", "binary", "document", "problems", "redirect", "tagged"]
