"""A bare FastAPI service with the recommender's request and answer: `echo PORT WORKERS`."""

import sys

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class Playback(BaseModel):
    """The body of a report."""

    track: int
    time: float


@app.post("/next/{user}")
async def next_(user: int, body: Playback) -> dict[str, int]:
    """Answer with what came."""
    return {"user": user, "track": body.track}


if __name__ == "__main__":
    uvicorn.run(
        "benchmarks.serving.echo:app",
        host="127.0.0.1",
        port=int(sys.argv[1]),
        workers=int(sys.argv[2]),
        log_level="error",
        access_log=False,
    )
