"""A Google Drive for the tests: real HTTP, and what Google's documentation says, refusals included."""

import itertools
import json
import re
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from jose import jwt
from jose.exceptions import JOSEError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from po_api.core.service_account import ServiceAccount
from support.applications import serving

FOLDER = "application/vnd.google-apps.folder"
SCOPE = "https://www.googleapis.com/auth/drive"
EMAIL = "po-api@tests.iam.gserviceaccount.example"
_GRANULE = 256 * 1024
_serial = itertools.count(1)
_CONDITION = re.compile(
    r"'(?P<parent>[^']+)' in parents|name = '(?P<name>[^']*)'|mimeType = '(?P<type>[^']*)'"
    r"|appProperties has { key='(?P<key>[^']*)' and value='(?P<value>[^']*)' }|trashed = (?P<trashed>false)"
)


class Cut(Response):
    """No response: the connection is closed."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})


def refused(status: int, reason: str, **headers: str) -> Response:
    """An error in Google's form."""
    error = {"domain": "global", "reason": reason, "message": f"Refused: {reason}"}
    body = {"error": {"code": status, "message": error["message"], "errors": [error]}}
    return JSONResponse(body, status, headers=headers)


@dataclass
class StoredFile:
    """A file or a folder. `access` is the account's right to a folder that is shared with it: reader or writer."""

    id: str
    name: str
    mime_type: str
    parents: list[str] = field(default_factory=list)
    properties: dict[str, str] = field(default_factory=dict)
    content: bytes = b""
    is_trashed: bool = False
    access: str | None = None
    drive_id: str | None = None


@dataclass
class Session:
    """A resumable upload."""

    metadata: dict[str, Any]
    size: int
    received: bytes = b""


class GoogleDrive:
    """The state of Drive. `answers` replace the next responses to a method and a path, before anything is done; with
    `is_response_lost`, the response to the next upload is not sent. `after_upload` is called before the response."""

    def __init__(self) -> None:
        self.url = ""
        self.reset()

    def reset(self) -> None:
        self.files: dict[str, StoredFile] = {}
        self.sessions: dict[str, Session] = {}
        self.answers: defaultdict[tuple[str, str], deque[Response]] = defaultdict(deque)
        self.requests: Counter[tuple[str, str]] = Counter()
        self.tokens: dict[str, str] = {}
        self.scope = SCOPE
        self.is_key_revoked = False
        self.kept_bytes: int | None = None
        self.after_upload: Callable[[], None] = lambda: None
        self.is_response_lost = False

    @cached_property
    def account(self) -> ServiceAccount:
        return ServiceAccount(EMAIL, "key-1", self._pem, f"{self.url}/token")

    def write_credentials(self, directory: Path) -> Path:
        """The file that GOOGLE_DRIVE_CREDENTIALS names."""
        path = directory / "service-account.json"
        values = {"client_email": EMAIL, "private_key_id": "key-1", "private_key": self._pem}
        path.write_text(json.dumps({"type": "service_account", "token_uri": f"{self.url}/token", **values}))
        return path

    @cached_property
    def _key(self) -> Any:
        return generate_private_key(65537, 2048)

    @cached_property
    def _pem(self) -> str:
        encoding, no_password = serialization.Encoding.PEM, serialization.NoEncryption()
        pem: bytes = self._key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, no_password)
        return pem.decode()

    @cached_property
    def _public(self) -> str:
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        pem: bytes = self._key.public_key().public_bytes(serialization.Encoding.PEM, form)
        return pem.decode()

    # What people do in Drive

    def folder(self, name: str, *, access: str | None = "writer", drive_id: str | None = None) -> StoredFile:
        """A folder that is shared with the account."""
        return self._add(StoredFile(self._id(), name, FOLDER, access=access, drive_id=drive_id))

    def put(self, parent: StoredFile, name: str, mime_type: str = "text/plain") -> StoredFile:
        """A file of somebody else."""
        return self._add(StoredFile(self._id(), name, mime_type, [parent.id], drive_id=parent.drive_id))

    def fail(self, method: str, path: str, *answers: Response) -> None:
        """Answer the next requests so; the path is the part after the host."""
        self.answers[method, path].extend(answers)

    def documents(self, folder: StoredFile) -> dict[str, bytes]:
        """The PDFs below a folder that are not in the trash, by path."""
        found = {}
        for file in self.files.values():
            lineage = [*self._lineage(file)]
            if file.mime_type == "application/pdf" and folder in lineage and not self._in_trash(file):
                path = "/".join(reversed([one.name for one in lineage[: lineage.index(folder)]]))
                assert path not in found, "filed twice"
                found[path] = file.content
        return found

    # Drive

    def app(self) -> Starlette:
        files, upload = "/drive/v3/files", "/upload/drive/v3/files"
        return Starlette(
            routes=[
                Route("/token", self._answered(self._token), methods=["POST"]),
                Route(f"{files}/generateIds", self._answered(self._generate)),
                Route(files, self._answered(self._list)),
                Route(files, self._answered(self._create), methods=["POST"]),
                Route(f"{files}/{{file_id}}", self._answered(self._get)),
                Route(upload, self._answered(self._upload), methods=["POST"]),
                Route(f"{upload}/sessions/{{session_id}}", self._answered(self._part), methods=["PUT"]),
            ]
        )

    def _answered(self, handle: Callable[[Request], Any]) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            path = request.url.path
            key = (request.method, path if "/sessions/" not in path else "session")
            self.requests[key] += 1
            body = await request.body()
            if self.answers[key]:
                return self.answers[key].popleft()
            if path != "/token":
                token = request.headers.get("authorization", "").removeprefix("Bearer ")
                if token not in self.tokens:
                    return refused(401, "authError")
                if self.tokens[token] != SCOPE:
                    return refused(403, "insufficientPermissions")
            request.state.body = body
            response: Response = await handle(request)
            return response

        return answer

    async def _token(self, request: Request) -> Response:
        form = await request.form()
        assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
        assertion = str(form["assertion"])
        try:
            claims = jwt.decode(assertion, self._public, algorithms=["RS256"], audience=f"{self.url}/token")
        except JOSEError:
            return JSONResponse({"error": "invalid_grant", "error_description": "Invalid JWT Signature."}, 400)
        assert jwt.get_unverified_header(assertion)["kid"] == "key-1"
        if self.is_key_revoked or claims["iss"] != EMAIL or claims["exp"] - claims["iat"] > 3600:
            return JSONResponse({"error": "invalid_grant", "error_description": "Invalid JWT Signature."}, 400)
        assert claims["scope"] == SCOPE
        token = f"token-{next(_serial)}"
        self.tokens[token] = self.scope
        return JSONResponse({"access_token": token, "expires_in": 3599, "token_type": "Bearer"})

    async def _generate(self, request: Request) -> Response:
        count = int(request.query_params["count"])
        return JSONResponse({"ids": [self._id() for _ in range(count)], "space": "drive"})

    async def _get(self, request: Request) -> Response:
        file = self.files.get(request.path_params["file_id"])
        if file is None or not self._may(file, "reader") or (file.drive_id and not _all_drives(request)):
            return refused(404, "notFound")
        return JSONResponse(self._shown(file))

    async def _list(self, request: Request) -> Response:
        query = request.query_params
        conditions = _conjunction(query["q"])
        for parent in (found["parent"] for (found, *_) in conditions if found["parent"]):
            if parent not in self.files or not self._may(self.files[parent], "reader"):
                return refused(404, "notFound")
        found = [
            file
            for file in self.files.values()
            if all(any(self._fulfils(file, one) for one in any_of) for any_of in conditions)
            and self._may(file, "reader")
            and self._is_in_corpus(file, request)
        ]
        return JSONResponse({"incompleteSearch": False, "files": [self._shown(file) for file in found]})

    async def _create(self, request: Request) -> Response:
        return self._created(json.loads(request.state.body), b"", request)

    async def _upload(self, request: Request) -> Response:
        if request.query_params["uploadType"] == "multipart":
            assert len(request.state.body) <= 5 * 1024 * 1024 + 4096
            metadata, content = _parts(request)
            return self._created(json.loads(metadata), content, request)
        assert request.query_params["uploadType"] == "resumable"
        metadata = json.loads(request.state.body)
        if refusal := self._refusal(metadata, request):
            return refusal
        name = f"session-{next(_serial)}"
        self.sessions[name] = Session(metadata, int(request.headers["x-upload-content-length"]))
        location = f"{self.url}/upload/drive/v3/files/sessions/{name}?supportsAllDrives=true"
        return Response(headers={"Location": location})

    async def _part(self, request: Request) -> Response:
        session = self.sessions.get(request.path_params["session_id"])
        if session is None:
            return refused(404, "notFound")
        body, content_range = request.state.body, request.headers["content-range"]
        if not content_range.startswith("bytes */"):
            first, last, size = map(int, re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", content_range).groups())  # type: ignore[union-attr]
            assert (last - first + 1, size) == (len(body), session.size)
            assert first == len(session.received), "parts follow each other"
            assert last + 1 == size or len(body) % _GRANULE == 0
            if self.kept_bytes is not None:
                session.received += body[: self.kept_bytes]
                self.kept_bytes = None
                return Cut()
            session.received += body
        if len(session.received) == session.size:
            return self._created(session.metadata, session.received, request)
        headers = {"Range": f"bytes=0-{len(session.received) - 1}"} if session.received else {}
        return Response(status_code=308, headers=headers)

    def _refusal(self, metadata: dict[str, Any], request: Request) -> Response | None:
        (parent_id,) = metadata["parents"]
        parent = self.files.get(parent_id)
        if parent is None or not self._may(parent, "reader") or (parent.drive_id and not _all_drives(request)):
            return refused(404, "notFound")
        if not self._may(parent, "writer"):
            return refused(403, "insufficientFilePermissions")
        return refused(409, "fileIdInUse") if metadata.get("id") in self.files else None

    def _created(self, metadata: dict[str, Any], content: bytes, request: Request) -> Response:
        if refusal := self._refusal(metadata, request):
            return refusal
        parent = self.files[metadata["parents"][0]]
        file = self._add(
            StoredFile(
                metadata["id"],
                metadata["name"],
                metadata["mimeType"],
                [parent.id],
                metadata.get("appProperties", {}),
                content,
                drive_id=parent.drive_id,
            )
        )
        if content:
            self.after_upload()
        if self.is_response_lost and content:
            self.is_response_lost = False
            return Cut()
        return JSONResponse(self._shown(file))

    def _shown(self, file: StoredFile) -> dict[str, Any]:
        return {
            "id": file.id,
            "name": file.name,
            "mimeType": file.mime_type,
            "trashed": self._in_trash(file),
            "webViewLink": f"https://drive.google.com/file/d/{file.id}/view",
            "appProperties": file.properties,
            "capabilities": {"canAddChildren": file.mime_type == FOLDER and self._may(file, "writer")},
            **({"driveId": file.drive_id} if file.drive_id else {}),
        }

    def _fulfils(self, file: StoredFile, condition: dict[str, str]) -> bool:
        if condition["parent"]:
            return condition["parent"] in file.parents
        if condition["name"] is not None:
            return file.name == condition["name"]
        if condition["type"]:
            return file.mime_type == condition["type"]
        if condition["key"]:
            return file.properties.get(condition["key"]) == condition["value"]
        return not self._in_trash(file)

    def _is_in_corpus(self, file: StoredFile, request: Request) -> bool:
        """The corpus of a user has no file of a shared drive."""
        query = request.query_params
        if file.drive_id is None:
            return query.get("corpora", "user") in {"user", "allDrives"}
        has_all = _all_drives(request) and query.get("includeItemsFromAllDrives") == "true"
        of_drive = query.get("corpora") == "drive" and query.get("driveId") == file.drive_id
        return has_all and (of_drive or query.get("corpora") == "allDrives")

    def _lineage(self, file: StoredFile) -> Iterator[StoredFile]:
        yield file
        for parent in file.parents:
            if parent in self.files:
                yield from self._lineage(self.files[parent])

    def _in_trash(self, file: StoredFile) -> bool:
        return any(one.is_trashed for one in self._lineage(file))

    def _may(self, file: StoredFile, access: str) -> bool:
        granted = {one.access for one in self._lineage(file)}
        return "writer" in granted or access in granted

    def _add(self, file: StoredFile) -> StoredFile:
        assert file.id not in self.files
        self.files[file.id] = file
        return file

    def _id(self) -> str:
        return f"1Ab_{next(_serial)}-xyz"


def _all_drives(request: Request) -> bool:
    return request.query_params.get("supportsAllDrives") == "true"


def _conjunction(query: str) -> list[list[dict[str, str]]]:
    """The conditions of a query that all have to hold, each a list of which any one has to."""
    found = []
    for part in re.split(r" and (?![^{]*})", query):
        matches = [_CONDITION.fullmatch(one) for one in part.removeprefix("(").removesuffix(")").split(" or ")]
        found.append([match.groupdict() for match in matches if match is not None])
        assert len(found[-1]) == len(matches), query
    return found


def _parts(request: Request) -> list[bytes]:
    """The contents of the parts of a multipart/related body (RFC 2046), byte for byte."""
    media_type, _, boundary = request.headers["content-type"].partition("; boundary=")
    assert media_type == "multipart/related"
    start, *parts, end = (b"\r\n" + request.state.body).split(f"\r\n--{boundary}".encode())
    assert (start, end) == (b"", b"--")
    contents = []
    for part in parts:
        head, _, content = part.partition(b"\r\n\r\n")
        assert head.startswith(b"\r\nContent-Type: ")
        contents.append(content)
    return contents


@contextmanager
def running_drive() -> Iterator[GoogleDrive]:
    """Drive at an address of its own."""
    drive = GoogleDrive()
    with serving(drive.app()) as address:
        drive.url = address
        yield drive
