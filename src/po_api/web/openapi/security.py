"""Credentials: a token or the cookie by default; public operations declare that they need none."""

from fastapi.encoders import jsonable_encoder

from po_api.web.cookies import access_cookie
from po_api.web.openapi.parts import Json, is_public, operations


def add_cookie_scheme(spec: Json) -> None:
    """FastAPI cannot derive it: the cookie is read by the dependency of the token."""
    schemes = spec["components"]["securitySchemes"]
    schemes[access_cookie.scheme_name] = jsonable_encoder(access_cookie.model, by_alias=True, exclude_none=True)
    spec["security"] = [{name: []} for name in schemes]


def state_security(spec: Json) -> None:
    """Invert FastAPI's declarations: credentials are the default of the document, public operations override it."""
    for _, _, operation in operations(spec):
        if is_public(operation):
            operation["security"] = []
        else:
            del operation["security"]
