"""A service of the parent's design: Flask, gevent, pickled lists in Redis, a local event log.

`parent.py PORT REDIS_PORT LOG`. TCP_NODELAY is set; the parent itself lacks it and waits 44 ms.
"""

# ruff: noqa: E402, S301, DTZ005 - gevent patches first; the rest is as the parent does it

from gevent import monkey

monkey.patch_all()

import json
import pickle
import random
import socket
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import mmh3
from flask import Flask, request
from gevent.pywsgi import WSGIServer
from redis import Redis

ARMS = ("C", "T1")

app = Flask(__name__)


def assign(user: int) -> str:
    """Assign a user to an arm, as the parent does."""
    return ARMS[mmh3.hash(str(user), seed=42, signed=False) % len(ARMS)]


def make_routes(redis: Redis, log: Any) -> None:
    """Add the route of a recommendation after a playback."""

    @app.route("/next/<int:user>", methods=["POST"])
    def next_(user: int) -> dict[str, int]:
        started = time.time()
        body = request.get_json()
        track, listened = int(body["track"]), float(body["time"])
        arm = assign(user)
        found = redis.get(track)
        recommendations = pickle.loads(found)["recommendations"]
        random.shuffle(recommendations)
        recommendation = recommendations[0]
        datum = {
            "message": "next",
            "timestamp": int(datetime.now().timestamp() * 1000),
            "user": user,
            "track": track,
            "time": listened,
            "latency": time.time() - started,
            "recommendation": recommendation,
            "experiments": {"CONTEXTUAL": arm},
        }
        log.write(json.dumps(datum) + "\n")
        log.flush()
        return {"user": user, "track": recommendation}


class Server(WSGIServer):
    """Sets TCP_NODELAY on every connection."""

    def handle(self, *args: Any) -> None:
        """Serve one connection."""
        args[0].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().handle(*args)


if __name__ == "__main__":
    with Path(sys.argv[3]).open("a") as log:
        make_routes(Redis(port=int(sys.argv[2])), log)
        Server(("127.0.0.1", int(sys.argv[1])), app, log=None).serve_forever()
