"""Who may change a service's state: whoever has the token."""

import base64
import hmac
from typing import Annotated, Any

from fastapi import FastAPI, Request, Security
from fastapi.openapi.models import HTTPBase
from fastapi.security import HTTPBearer
from fastapi.security.base import SecurityBase
from fastapi.security.http import HTTPAuthorizationCredentials
from pydantic import SecretStr

from shared.http import ProblemError
from shared.openapi import problems

_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="token",
    description="`SEGUE_API_TOKEN`; a service on loopback alone may have none.",
)


class _BrowserToken(SecurityBase):
    """Reads the token as browsers send what they asked their user for; or as a bearer's."""

    scheme_name = "browser"
    model = HTTPBase(
        scheme="basic", description="For browsers: any name, the token as the password."
    )

    async def __call__(self, request: Request) -> str | None:
        scheme, _, value = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return value
        return _read_password(value) if scheme.lower() == "basic" else None


_browser = _BrowserToken()


def install_token(app: FastAPI, token: SecretStr | None) -> None:
    """Set what the protected routes of an application ask for; None lets everybody in."""
    app.state.api_token = None if token is None else token.get_secret_value().encode()


async def require_token(
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
) -> None:
    """Let a request through that carries the token.

    Raises:
        ProblemError: If it does not.
    """
    given = credentials.credentials if credentials else None
    _check(request, given, challenge='Bearer realm="segue"')


async def require_browser_token(
    request: Request, given: Annotated[str | None, Security(_browser)]
) -> None:
    """Likewise, and let browsers, which send no bearer token by themselves, ask their user for it.

    Raises:
        ProblemError: If the request carries no token.
    """
    _check(request, given, challenge='Basic realm="segue", charset="UTF-8"')


def protect(*statuses: int) -> dict[str, Any]:
    """Return the options of a route that asks for the token, and of which problems it may tell."""
    return {"dependencies": [Security(require_token)], "responses": problems(401, *statuses)}


def protect_page(*statuses: int) -> dict[str, Any]:
    """Likewise, of a route that browsers post a form to."""
    dependencies = [Security(require_browser_token)]
    return {"dependencies": dependencies, "responses": problems(401, *statuses)}


def _check(request: Request, given: str | None, *, challenge: str) -> None:
    expected: bytes | None = request.app.state.api_token
    # Of the same length or not, a comparison takes the same time.
    if expected is not None and not hmac.compare_digest((given or "").encode(), expected):
        detail = "this changes the service's state: send the token (SEGUE_API_TOKEN)"
        raise ProblemError(
            401,
            "Unauthorized",
            detail,
            field="Authorization",
            headers={"WWW-Authenticate": challenge},
        )


def _read_password(credentials: str) -> str | None:
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
    except ValueError:  # of base64, or of UTF-8
        return None
