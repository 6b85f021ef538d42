"""Compression with gzip, for clients that accept it.

Responses of the API are compressed if they are JSON of 1 kB or more and the operation is one that API keys may use:
those never contain tokens or keys, whose compressed length could give them away (the BREACH attack). Documents and
scripts are compressed once. Everything else is sent as it is: streams, PDFs, problems.

The routes do this rather than a middleware: they know what a response contains, and a request without Accept-Encoding
takes no time.
"""

import asyncio
import gzip
import hashlib
import re
from dataclasses import dataclass
from functools import cached_property

from fastapi import Request, Response

from po_api.core.permissions import GRANTS, Permission
from po_api.web.etags import is_known, name_coding

MIN_BYTES = 1024
CODING = "gzip"
# A page of 50 requests is an eighth of its size after 0.2 ms; level 6 takes twice as long for a tenth.
_LEVEL = 3
_STATIC_LEVEL = 9
# About 2 ms; longer work is done in a thread.
_THREAD_BYTES = 128 * 1024
_VARY = (b"vary", b"Accept-Encoding")
_JSON = b"application/json"
_STATUSES = frozenset({200, 201})
_WEIGHT = re.compile(r"\s*;\s*q\s*=\s*", re.IGNORECASE)


def accepts_gzip(request: Request) -> bool:
    """Whether the client accepts gzip (RFC 9110, 12.5.3)."""
    headers = request.headers.getlist("accept-encoding")
    if not headers:
        return False
    weights = dict(_weighted(part) for part in ",".join(headers).split(","))
    return weights.get(CODING, weights.get("x-gzip", weights.get("*", 0.0))) > 0


def _weighted(part: str) -> tuple[str, float]:
    coding, *weight = _WEIGHT.split(part.strip().lower(), 1)
    try:
        return coding, float(weight[0]) if weight else 1.0
    except ValueError:
        return coding, 0.0


def is_compressible(response: Response, permission: Permission) -> bool:
    """Whether the response differs between clients that accept gzip and others."""
    return (
        response.status_code in _STATUSES
        and GRANTS[permission].scope is not None
        and isinstance(getattr(response, "body", None), bytes)
        and len(response.body) >= MIN_BYTES
        and (b"content-type", _JSON) in response.raw_headers
    )


async def negotiate(request: Request, response: Response) -> Response:
    """A response that is compressible, or the 304 instead of it, in the form that the client accepts."""
    response.raw_headers.append(_VARY)
    if accepts_gzip(request):
        name_coding(response, CODING)
        if response.status_code in _STATUSES:
            await _compress(response)
    return response


async def _compress(response: Response) -> None:
    body = bytes(response.body)
    is_short = len(body) < _THREAD_BYTES
    response.body = _gzip(body) if is_short else await asyncio.to_thread(_gzip, body)
    response.headers["Content-Length"] = str(len(response.body))
    response.headers["Content-Encoding"] = CODING


def _gzip(body: bytes, level: int = _LEVEL) -> bytes:
    return gzip.compress(body, level, mtime=0)


@dataclass(frozen=True)
class StaticFile:
    """A file that stays the same while the process runs, compressed once."""

    content: bytes
    media_type: str

    @cached_property
    def compressed(self) -> bytes:
        return _gzip(self.content, _STATIC_LEVEL)

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(self.content).hexdigest()[:16]

    async def respond(self, request: Request, cache_control: str | None = None) -> Response:
        """The file, or 304 if the client has it."""
        is_compressed = accepts_gzip(request) and len(self.content) >= MIN_BYTES
        tag = f'"{self.digest}-{CODING}"' if is_compressed else f'"{self.digest}"'
        headers = {"ETag": tag, "Vary": "Accept-Encoding"}
        if cache_control is not None:
            headers["Cache-Control"] = cache_control
        if "if-none-match" in request.headers and is_known(f'"{self.digest}"', request):
            return Response(status_code=304, headers=headers)
        if not is_compressed:
            return Response(self.content, media_type=self.media_type, headers=headers)
        # A megabyte takes longer than the event loop may wait; afterwards, this is an attribute.
        content = await asyncio.to_thread(lambda: self.compressed)
        return Response(content, media_type=self.media_type, headers={**headers, "Content-Encoding": CODING})
