"""Uploads to Google Drive: in one request, or above 5 MB in parts, which go on after a break where they were."""

import json
import re
import secrets
from collections.abc import Mapping
from urllib.parse import urlsplit

from po_api.filing.domain import FilingProblem, NotFiled
from po_api.filing.drive_http import Answer, DriveHttp, JsonObject

# The limit of uploads in one request.
MULTIPART_BYTES = 5 * 1024 * 1024
# A multiple of 256 KiB, as Drive requires of all parts but the last one.
PART_BYTES = 2 * 1024 * 1024
# Answers without progress, and breaks, after which the attempt has failed.
MAX_BREAKS = 3

_DUPLICATE = 409
_ENDED = frozenset({200, 201, _DUPLICATE})
_INCOMPLETE = 308
# Of a session that has expired: the next attempt opens another one.
_GONE = frozenset({404, 410})
_RANGE = re.compile(r"bytes=0-(\d+)")


async def upload(
    http: DriveHttp, url: str, params: Mapping[str, str], metadata: JsonObject, content: bytes
) -> JsonObject | None:
    """Create a file with this content; returns its metadata, or None if its id is taken. Raises NotFiled."""
    if len(content) <= MULTIPART_BYTES:
        answer = await _in_one(http, url, params, metadata, content)
    else:
        answer = await _opened(http, url, params, metadata, content)
        if answer.status != _DUPLICATE:
            answer = await _Session(http, _address(answer, url), content).run()
    return None if answer.status == _DUPLICATE else answer.body


async def _in_one(http: DriveHttp, url: str, params: Mapping[str, str], metadata: JsonObject, content: bytes) -> Answer:
    boundary = secrets.token_hex(16)
    head = f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{json.dumps(metadata)}\r\n"
    body = b"".join(
        (
            head.encode(),
            f"--{boundary}\r\nContent-Type: {metadata['mimeType']}\r\n\r\n".encode(),
            content,
            f"\r\n--{boundary}--".encode(),
        )
    )
    headers = {"Content-Type": f"multipart/related; boundary={boundary}"}
    return await http.request(
        "POST", url, params={**params, "uploadType": "multipart"}, headers=headers, content=body, accepted=_ENDED
    )


async def _opened(http: DriveHttp, url: str, params: Mapping[str, str], metadata: JsonObject, content: bytes) -> Answer:
    """The answer with the address of a new session."""
    headers = {"X-Upload-Content-Type": str(metadata["mimeType"]), "X-Upload-Content-Length": str(len(content))}
    query = {**params, "uploadType": "resumable"}
    return await http.request("POST", url, params=query, headers=headers, json=dict(metadata), accepted=_ENDED)


def _address(answer: Answer, url: str) -> str:
    location: str = answer.headers.get("location", "")
    # The token is sent to it.
    if urlsplit(location)[:2] != urlsplit(url)[:2]:
        raise NotFiled(FilingProblem.DRIVE_REFUSED, "upload session elsewhere")
    return location


class _Session:
    """An upload in parts. `position` is the number of bytes that Drive has."""

    def __init__(self, http: DriveHttp, address: str, content: bytes) -> None:
        self._http = http
        self._address = address
        self._content = content
        self._position = 0
        self._breaks = 0

    async def run(self) -> Answer:
        is_known = True
        while True:
            try:
                answer = await (self._send_part() if is_known else self._ask())
            except NotFiled as error:
                if error.problem is not FilingProblem.DRIVE_UNAVAILABLE:
                    raise
                self._count_break(error)
                is_known = False
                continue
            if answer.status in _ENDED:
                return answer
            if answer.status in _GONE:
                raise NotFiled(FilingProblem.DRIVE_UNAVAILABLE, "upload session expired")
            self._advance(answer)
            is_known = True

    async def _send_part(self) -> Answer:
        part = self._content[self._position : self._position + PART_BYTES]
        last = self._position + len(part) - 1
        return await self._put(part, f"bytes {self._position}-{last}/{len(self._content)}")

    async def _ask(self) -> Answer:
        """How much Drive has."""
        return await self._put(b"", f"bytes */{len(self._content)}")

    async def _put(self, part: bytes, content_range: str) -> Answer:
        accepted = _ENDED | _GONE | {_INCOMPLETE}
        headers = {"Content-Range": content_range, "Content-Length": str(len(part))}
        return await self._http.request("PUT", self._address, headers=headers, content=part, accepted=accepted)

    def _advance(self, answer: Answer) -> None:
        """Go on after the bytes that Drive has, which may be fewer than were sent."""
        found = _RANGE.fullmatch(answer.headers.get("range", ""))
        position = int(found[1]) + 1 if found else 0
        if position <= self._position:
            self._count_break(NotFiled(FilingProblem.DRIVE_UNAVAILABLE, "upload makes no progress"))
        self._position = min(position, len(self._content))

    def _count_break(self, error: NotFiled) -> None:
        self._breaks += 1
        if self._breaks > MAX_BREAKS:
            raise error
