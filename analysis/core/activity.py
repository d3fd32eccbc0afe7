"""What happens now."""

import dataclasses
from datetime import datetime


@dataclasses.dataclass(frozen=True)
class Minute:
    """A minute of the log.

    Attributes:
        start_at: Its start.
        n_events: Playbacks reported in it.
        n_requests: Of these, requests for a next track.
        n_fallbacks: Of these, answered by other than the treatment's own recommender.
    """

    start_at: datetime
    n_events: int
    n_requests: int
    n_fallbacks: int
