"""Forms that only our own pages can send."""

import hashlib
import hmac
import secrets
from urllib.parse import parse_qsl, urlsplit

from fastapi import Request, Response

from shared.http import ProblemError

FIELD = "token"
COOKIE = "segue_browser"
_MAX_FORM = 64 * 1024


class Tokens:
    """Makes and checks the tokens of forms.

    A browser has a random cookie that other sites' requests do not carry; a form's token is its
    keyed hash. So a page of another site can neither read the token nor guess it, and a cookie
    planted by one has no token.
    """

    def __init__(self) -> None:
        """Draw the key: tokens last as long as the process."""
        self._key = secrets.token_bytes(32)

    def identify(self, request: Request) -> tuple[str, bool]:
        """Return the browser's cookie, and whether it is new."""
        cookie = request.cookies.get(COOKIE)
        return (cookie, False) if cookie else (secrets.token_urlsafe(16), True)

    def remember(self, response: Response, browser: str) -> None:
        """Let the browser keep its cookie."""
        response.set_cookie(COOKIE, browser, httponly=True, samesite="strict", path="/")

    def make(self, browser: str) -> str:
        """Return the token of a browser's forms."""
        return hmac.new(self._key, browser.encode(), hashlib.sha256).hexdigest()

    async def read_form(self, request: Request) -> dict[str, str]:
        """Read a form that one of our pages sent; a field that repeats counts once, the last.

        Raises:
            ProblemError: If it is too large, or of another site.
        """
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > _MAX_FORM:
                raise ProblemError(413, "Form too large", f"a form has {_MAX_FORM} bytes at most")
        form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        self._check(request, form.get(FIELD, ""))
        return form

    def _check(self, request: Request, token: str) -> None:
        origin = request.headers.get("Origin")
        is_foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("Host")
        browser = request.cookies.get(COOKIE, "")
        is_ours = hmac.compare_digest(token.encode(), self.make(browser).encode())
        if is_foreign or not browser or not is_ours:
            detail = "the form is not of this page, or the page is too old: open it again"
            raise ProblemError(403, "Form refused", detail, field=FIELD)
