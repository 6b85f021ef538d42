"""Bodies of requests and responses about sessions."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal, Protocol, Self

from pydantic import Field, StringConstraints

from po_api.web.schemas import Page, Schema

# The limit is tokens.MAX_LENGTH.
Token = Annotated[str, StringConstraints(min_length=1, max_length=8192)]
Secret = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{43}$")]
Verifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._~-]{43,128}$")]

ReturnAddress = Annotated[str, StringConstraints(max_length=2000, pattern=r"^[!-~]+$")]

_SECRET = "Vn3mQx8u2yT5w7zA9bC1dE3fG5hJ7kL9mN1pQ3rS5tU"  # noqa: S105 - an example


class SignInMode(StrEnum):
    """How the tokens are delivered: in the response body, or in HttpOnly cookies."""

    BEARER = "bearer"
    COOKIE = "cookie"


class IdTokenSignIn(Schema):
    """An ID token of the identity provider, as issued to a page by the Google sign-in button."""

    id_token: Token = Field(examples=["eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.e30.c2lnbmF0dXJl"])
    nonce: Token | None = Field(default=None, description="The nonce that the ID token was requested with, if any")
    mode: SignInMode = SignInMode.BEARER


class SignInStart(Schema):
    """The start of a sign-in of a front end that keeps the tokens itself."""

    return_to: ReturnAddress | None = Field(
        default=None,
        description="Return address: one of `FRONTEND_URL`, with any query; by default the first one of this origin",
        examples=["https://po.example.com/"],
    )
    code_challenge: Secret = Field(
        description="The S256 challenge (RFC 7636) of the verifier that is sent in the exchange",
        examples=["E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"],
    )


class SignInStarted(Schema):
    """A sign-in in progress, for ten minutes."""

    authorization_url: str = Field(
        description="URL of the identity provider to navigate the browser to",
        examples=["https://accounts.google.com/o/oauth2/v2/auth?state=…"],
    )


class SignInCodeExchange(Schema):
    """The sign-in code from the redirect, and the PKCE verifier that the front end kept."""

    code: Secret = Field(examples=[_SECRET])
    code_verifier: Verifier = Field(
        examples=[_SECRET], description="The PKCE verifier of the `code_challenge` (RFC 7636)"
    )


class RefreshRequest(Schema):
    """The refresh token to use; the body is omitted if the token is sent as a cookie."""

    refresh_token: Token | None = Field(default=None, examples=[_SECRET])


class Identified(Protocol):
    """A session, with the fields of `SessionRead` as attributes."""

    @property
    def id(self) -> int: ...


class SessionRead(Schema):
    """A session, without its tokens."""

    id: int
    created_at: datetime
    expires_at: datetime = Field(description="Absolute end of the session; an unused session ends earlier")
    last_seen_at: datetime | None
    ip_address: str | None = Field(examples=["192.0.2.7"])
    user_agent: str | None = Field(examples=["Mozilla/5.0"])
    is_current: bool = Field(description="Whether this is the session of the current request")

    @classmethod
    def of(cls, session: Identified, *, current_id: int | None) -> Self:
        fields = {name: getattr(session, name) for name in cls.model_fields if name != "is_current"}
        return cls.model_validate({**fields, "is_current": session.id == current_id})


class SessionTokens(Schema):
    """A session and its tokens, which are shown only in this response; null if they were set as cookies."""

    token_type: Literal["Bearer"]
    access_token: str | None = Field(examples=["eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9.e30.c2lnbmF0dXJl"])
    expires_in: int = Field(description="Lifetime of the access token in seconds", examples=[900])
    refresh_token: str | None = Field(
        examples=[_SECRET], description="Valid for one refresh, whose response contains its successor"
    )
    session: SessionRead


class SessionPage(Page):
    """One page of sessions."""

    items: list[SessionRead]
