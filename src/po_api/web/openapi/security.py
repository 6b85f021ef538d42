"""Credentials: a token or the cookie by default; public operations say that they need none."""

from fastapi.encoders import jsonable_encoder

from po_api.web.cookies import access_cookie
from po_api.web.openapi.parts import Json, is_public, operations


def add_cookie_scheme(spec: Json) -> None:
    """FastAPI does not see it: the cookie is read where the token is."""
    schemes = spec["components"]["securitySchemes"]
    schemes[access_cookie.scheme_name] = jsonable_encoder(access_cookie.model, by_alias=True, exclude_none=True)
    spec["security"] = [{name: []} for name in schemes]


def state_security(spec: Json) -> None:
    """FastAPI says of each operation that it needs a token, and nothing of public ones; here it is the other way."""
    for _, _, operation in operations(spec):
        if is_public(operation):
            operation["security"] = []
        else:
            del operation["security"]
