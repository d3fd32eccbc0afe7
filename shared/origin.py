"""Where a request comes from: browsers tell, and their pages cannot change what they tell."""

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from shared.http import ProblemError


def check_origin(headers: Mapping[bytes, bytes], *, is_local: bool) -> None:
    """Refuse what a page of another site lets a browser send; other programs say nothing of it.

    Args:
        headers: Of an unsafe request, names in lower case.
        is_local: Whether the service listens on loopback alone. A page's own name may be made to
            lead there, so that a browser takes the service for the page's: only names that always
            lead there are believed.

    Raises:
        ProblemError: If it comes from another site.
    """
    site = headers.get(b"sec-fetch-site", b"none")
    origin = headers.get(b"origin")
    is_ours = origin is None or _is_of(origin.decode("latin-1"), headers, is_local=is_local)
    if not is_ours or site not in {b"none", b"same-origin"}:
        raise ProblemError(403, "Cross-site request", "a page of another site may not do this")


def _is_of(origin: str, headers: Mapping[bytes, bytes], *, is_local: bool) -> bool:
    try:
        address = urlsplit(origin)
        host = address.hostname or ""
    except ValueError:  # no address at all
        return False
    is_same = address.netloc == headers.get(b"host", b"").decode("latin-1")
    return is_same and (not is_local or is_loopback(host))


def is_loopback(host: str) -> bool:
    """Return whether an address, or a name, is always this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
