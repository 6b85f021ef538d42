"""Forms that have arrived with their end.

The parser takes the parts before a missing end for the whole form: a field that was cut off would count as omitted.
"""

from collections.abc import AsyncGenerator

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.formparsers import MultiPartException

NO_END = "the form has no end"


class FormRequest(Request):
    """A request with a form (`multipart/form-data`), which raises MultiPartException if the form has no end."""

    def __init__(self, request: Request) -> None:
        super().__init__(request.scope, request.receive)

    async def stream(self) -> AsyncGenerator[bytes, None]:
        _, options = parse_options_header(self.headers.get("content-type"))
        boundary = options.get(b"boundary")
        end = b"--" + (boundary or b"") + b"--"
        tail, has_ended = b"", False
        async for chunk in super().stream():
            tail = tail[1 - len(end) :] + chunk
            has_ended = has_ended or end in tail
            yield chunk
        # A body of another type, or none, is refused for that.
        if boundary is not None and not has_ended:
            raise MultiPartException(NO_END)  # here, so that the parser closes its files
