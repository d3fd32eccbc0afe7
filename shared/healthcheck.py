"""`python -m shared.healthcheck URL`: exit 0 if the URL answers with success within 3 seconds."""

import sys
import urllib.error
import urllib.request


def main(arguments: list[str]) -> int:
    """Check one URL; containers run this as their health check."""
    if len(arguments) != 1 or not arguments[0].startswith(("http://", "https://")):
        print("usage: python -m shared.healthcheck URL", file=sys.stderr)
        return 2
    try:
        with urllib.request.urlopen(arguments[0], timeout=3) as answer:  # noqa: S310 - http(s) only
            answer.read()
    except (OSError, urllib.error.URLError) as error:
        print(f"{arguments[0]}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
