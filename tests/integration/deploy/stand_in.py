"""A service for the stack's tests: `stand_in.py PORT [--exit-after SECONDS] [--exit-if FILE]`."""

import argparse
import http.server
import pathlib
import sys
import time


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers every path with success."""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200)
        self.end_headers()


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--exit-after", type=float)
    parser.add_argument("--exit-if", type=pathlib.Path)
    options = parser.parse_args()
    print(f"listening on {options.port}", flush=True)
    if options.exit_after is not None:
        for number in range(20):
            print(f"complaint {number}")
        time.sleep(options.exit_after)
        sys.exit(7)
    if options.exit_if is not None and options.exit_if.exists():
        sys.exit(8)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
    server.serve_forever()


if __name__ == "__main__":
    main()
