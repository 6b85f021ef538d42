"""ETags: `"version-digest"`.

The version is what `If-Match` compares. The digest of the body makes the tag a strong one, since a representation also
says what the caller may do, which changes without a new version of the entity.
"""

import hashlib
import re
from typing import Annotated

from fastapi import Depends, Header, Request, Response

from po_api.core.errors import BadRequest, FieldError, PreconditionRequired
from po_api.core.versions import ExpectedVersions
from po_api.db.json_sql import JsonDocument

_TAG = re.compile(r'(?:W/)?"(?:(\d{1,18})(?:-[0-9a-f]+)?|[^"]*)"')


class InvalidIfMatch(BadRequest):
    """`If-Match` is not an entity tag: send the ETag as it was received, including its quotes."""

    code = "invalid_if_match"
    title = "Invalid If-Match"


def parse_if_match(header: str) -> ExpectedVersions:
    """The versions that the header names; None for `*`. Weak and foreign tags match nothing (RFC 9110, 13.1.1)."""
    if header.strip() == "*":
        return None
    versions = set()
    for part in header.split(","):
        match = _TAG.fullmatch(part.strip())
        if match is None:
            raise InvalidIfMatch(errors=(FieldError("/If-Match", "invalid_if_match", InvalidIfMatch.title, "header"),))
        if match[1] is not None and not part.strip().startswith("W/"):
            versions.add(int(match[1]))
    return frozenset(versions)


async def _required(
    if_match: Annotated[
        str | None, Header(alias="If-Match", description="The ETag of the version that was read", examples=['"1"'])
    ] = None,
) -> ExpectedVersions:
    if if_match is None:
        raise PreconditionRequired
    return parse_if_match(if_match)


IfMatch = Annotated[ExpectedVersions, Depends(_required)]


def set_version(response: Response, version: int) -> None:
    """Say which version the body shows; `finish` completes the tag."""
    response.headers["ETag"] = f'"{version}"'


def shown(representation: JsonDocument, *, status: int = 200, dry_run: bool = False) -> Response:
    """The response whose body is JSON already; what a dry run shows has no version to refer to."""
    response = Response(representation.json, status, media_type="application/json")
    if not dry_run:
        set_version(response, representation.version)
    return response


def created(representation: JsonDocument, collection: str, *, dry_run: bool = False) -> Response:
    """The same of what was made, which is now to be found in `collection`; what a dry run shows is nowhere."""
    response = shown(representation, status=201, dry_run=dry_run)
    if not dry_run:
        response.headers["Location"] = f"{collection}/{representation.id}"
    return response


def finish(request: Request, response: Response) -> Response:
    """Complete the ETag from the body, and answer 304 to a GET whose `If-None-Match` names it."""
    version = next((value.decode() for name, value in response.raw_headers if name == b"etag"), None)
    if version is None or not isinstance(response.body, bytes):
        return response
    tag = f'"{version.strip(chr(34))}-{hashlib.sha256(response.body).hexdigest()[:16]}"'
    response.headers["ETag"] = tag
    if request.method == "GET" and "if-none-match" in request.headers and _is_known(tag, request):
        return Response(status_code=304, headers={"ETag": tag})
    return response


def _is_known(tag: str, request: Request) -> bool:
    """The weak comparison (RFC 9110, 13.1.2): a proxy that compresses makes weak tags of strong ones."""
    named = ",".join(request.headers.getlist("if-none-match")).split(",")
    known = [part.strip().removeprefix("W/") for part in named]
    return known == ["*"] or tag in known
