"""Maps of the embeddings, from the trainer; a job's map never changes, so the last few are kept."""

import asyncio
from collections import OrderedDict

import msgspec

from services.dashboard.adapters.peers import PeerAwayError, PeerRefusalError, Peers
from services.dashboard.core.track_map import PlacedTracks, Places

MAP_NAME = "map.json"
_N_KEPT = 4


class Maps:
    """Fetches and keeps maps."""

    def __init__(self, peers: Peers) -> None:
        """Fetch nothing yet."""
        self._peers = peers
        self._kept: OrderedDict[str, PlacedTracks] = OrderedDict()

    async def get(self, job_id: str) -> PlacedTracks | None:
        """Return the map that a training left, or None without one that can be read."""
        if job_id in self._kept:
            self._kept.move_to_end(job_id)
            return self._kept[job_id]
        try:
            content, _ = await self._peers.trainer.get_file(f"/train/{job_id}/artifacts/{MAP_NAME}")
            placed = await asyncio.to_thread(_read, content)
        except (PeerAwayError, PeerRefusalError, msgspec.MsgspecError):
            return None
        self._kept[job_id] = placed
        if len(self._kept) > _N_KEPT:
            self._kept.popitem(last=False)
        return placed


def _read(content: bytes) -> PlacedTracks:
    return PlacedTracks(msgspec.json.decode(content, type=Places))
