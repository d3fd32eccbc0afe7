"""`python -m benchmarks.chaos.stepped_clock PORT`: a recommender whose clock jumps.

It is the service with another clock, which an hour's step moves every other second, there and back.
"""

import sys
import time
from datetime import UTC, datetime, timedelta

import uvicorn

from services.recommender.app import Adapters, create_app
from services.recommender.core.decisions import Clock
from services.recommender.settings import Settings

OFFSETS_S = (0.0, 3600.0, -3600.0)
PERIOD_S = 2.0


def main(arguments: list[str]) -> int:
    """Serve until stopped."""
    began = time.monotonic()

    def now() -> datetime:
        turn = int((time.monotonic() - began) / PERIOD_S) % len(OFFSETS_S)
        return datetime.now(UTC) + timedelta(seconds=OFFSETS_S[turn])

    settings = Settings()
    app = create_app(settings, Adapters(clock=Clock(now=now)))
    uvicorn.run(app, host="127.0.0.1", port=int(arguments[0]), log_config=None, access_log=False)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
