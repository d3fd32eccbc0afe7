"""What a session's first track tells of its interest, read off the sessions that it started.

    i_k ~ N(b_f, w I)                        interest of a session that starts with the track f
    b_f ~ N(m + k (e_f - e) + r_a, u I)      anchor of f; m and e are means over sessions
    r_a ~ N(0, v I)                          what the artist a of f adds

A track that starts many sessions is near many interests and in the middle of none: what follows
from its embedding alone is off by half as much again as what its sessions tell. Anchors are not
fed back into the beliefs: sessions with the same first track would confirm each other.

Source: Efron and Morris (1975), on shrinking means towards a regression.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from services.trainer.core.session.beliefs import Beliefs


@dataclass(frozen=True)
class Anchors:
    """Expected interest of a session, by its first track.

    Attributes:
        mean: b_f, (n_tracks, d).
        variance: Of an interest's coordinate around it, (n_tracks,).
    """

    mean: Tensor
    variance: Tensor


def derive_anchors(beliefs: Beliefs) -> Anchors:
    """Shrink the mean interest of each first track to its artist's, and that to e_f's."""
    w, u, v = (beliefs.scale(name) for name in ("around", "anchor", "anchor_artist"))
    artist = beliefs.artist
    of_session = beliefs.interest[beliefs.interest_of_session]
    centred = beliefs.track - beliefs.track[beliefs.first].mean(0)
    base = beliefs.interest.mean(0) + beliefs.prior.anchor_follow * centred
    count = torch.bincount(beliefs.first, minlength=beliefs.n_tracks).float()
    total = torch.zeros_like(base).index_add_(0, beliefs.first, of_session)
    is_first = count > 0
    count = count.clamp(min=1)
    residual = torch.where(is_first[:, None], total / count[:, None] - base, 0.0)

    # A track's mean residual lies around its artist's with the variance u + w / n.
    weight = torch.where(is_first, 1 / (u + w / count), 0.0)
    precision = torch.full((beliefs.n_artists,), 1 / v).index_add_(0, artist, weight)
    pull = torch.zeros(beliefs.n_artists, beliefs.dim)
    pull.index_add_(0, artist, residual * weight[:, None])
    of_artist = (pull / precision[:, None])[artist]

    share = weight * u
    mean = base + of_artist + share[:, None] * (residual - of_artist)
    doubt = (1 - share) * u + (1 - share) ** 2 / precision[artist]
    return Anchors(mean, w + doubt)
