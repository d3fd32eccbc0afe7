"""Where a request comes from: browsers tell, and their pages cannot change what they tell."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from shared.http import ProblemError


def check_origin(headers: Mapping[bytes, bytes]) -> None:
    """Refuse what a page of another site lets a browser send; other programs say nothing of it.

    Raises:
        ProblemError: If it comes from another site.
    """
    origin = headers.get(b"origin")
    site = headers.get(b"sec-fetch-site", b"none")
    host = headers.get(b"host", b"").decode("latin-1")
    is_ours = origin is None or urlsplit(origin.decode("latin-1")).netloc == host
    if not is_ours or site not in {b"none", b"same-origin"}:
        raise ProblemError(403, "Cross-site request", "a page of another site may not do this")
