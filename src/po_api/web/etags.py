"""ETags: `"version-digest"`.

`If-Match` compares the version. The digest of the body makes it a strong ETag: a representation contains
`allowed_actions`, which change without a new version of the entity.

A compressed representation has the coding appended: `"…-gzip"` (web/compression.py). Proxies that compress change
ETags, too: nginx weakens them (`W/"…"`), others append the coding. The version is still that of the representation that
was read, so that all are compared like the original.
"""

import hashlib
import re
from typing import Annotated

from fastapi import Depends, Header, Request, Response

from po_api.core.errors import BadRequest, FieldError, PreconditionRequired
from po_api.core.versions import ExpectedVersions
from po_api.db.json_sql import JsonDocument

_CODING = r"(?:-{1,2}|;)(?:br|deflate|gzip|zstd)"
_TAG = re.compile(rf'(?:W/)?"(?:(\d{{1,18}})(?:-[0-9a-f]+)?(?:{_CODING})*|[^"]*)"')
_CHANGED_BY_PROXIES = re.compile(rf'^W/|(?:{_CODING})+(?="$)')


class InvalidIfMatch(BadRequest):
    """`If-Match` is not an entity tag: send the ETag as it was received, including its quotes."""

    code = "invalid_if_match"
    title = "Invalid If-Match"


def parse_if_match(header: str) -> ExpectedVersions:
    """The versions in the header; None for `*`. Other ETags than those of this API match nothing."""
    if header.strip() == "*":
        return None
    versions = set()
    for part in header.split(","):
        match = _TAG.fullmatch(part.strip())
        if match is None:
            raise InvalidIfMatch(errors=(FieldError("/If-Match", "invalid_if_match", InvalidIfMatch.title, "header"),))
        if match[1] is not None:
            versions.add(int(match[1]))
    return frozenset(versions)


_EXAMPLE = '"1-2c26b46b68ffc68f"'
_MEANING = 'The ETag of the version that was read, as it was received. The version alone is enough: `"1"`.'


async def _required(
    if_match: Annotated[str | None, Header(alias="If-Match", description=_MEANING, examples=[_EXAMPLE])] = None,
) -> ExpectedVersions:
    if if_match is None:
        raise PreconditionRequired
    return parse_if_match(if_match)


IfMatch = Annotated[ExpectedVersions, Depends(_required)]


def set_version(response: Response, version: int) -> None:
    """Set the version of the body; `finish` completes the ETag."""
    response.headers["ETag"] = f'"{version}"'


def shown(representation: JsonDocument, *, status: int = 200, dry_run: bool = False) -> Response:
    """A response with a body that is JSON already; the result of a dry run has no ETag."""
    response = Response(representation.json, status, media_type="application/json")
    if not dry_run:
        set_version(response, representation.version)
    return response


def created(representation: JsonDocument, collection: str, *, dry_run: bool = False) -> Response:
    """A 201 response with the `Location` in `collection`; the result of a dry run has neither that nor an ETag."""
    response = shown(representation, status=201, dry_run=dry_run)
    if not dry_run:
        response.headers["Location"] = f"{collection}/{representation.id}"
    return response


def finish(request: Request, response: Response) -> Response:
    """Complete the ETag from the body; 304 for a GET whose `If-None-Match` has it."""
    version = next((value.decode() for name, value in response.raw_headers if name == b"etag"), None)
    if version is None or not isinstance(response.body, bytes):
        return response
    tag = f'"{version.strip(chr(34))}-{hashlib.sha256(response.body).hexdigest()[:16]}"'
    response.headers["ETag"] = tag
    if request.method == "GET" and "if-none-match" in request.headers and is_known(tag, request):
        return Response(status_code=304, headers={"ETag": tag})
    return response


def name_coding(response: Response, coding: str) -> None:
    """Append the coding to the ETag: a compressed body is another representation (RFC 9110, 8.8.3.3)."""
    if "etag" in response.headers:
        response.headers["ETag"] = f'{response.headers["etag"][:-1]}-{coding}"'


def is_known(tag: str, request: Request) -> bool:
    """Whether `If-None-Match` has the tag, in any coding: the weak comparison (RFC 9110, 13.1.2)."""
    named = ",".join(request.headers.getlist("if-none-match")).split(",")
    known = [_CHANGED_BY_PROXIES.sub("", part.strip()) for part in named]
    return known == ["*"] or tag in known
