"""Beliefs about tracks, artists, interests and listeners, and the cavities between them.

    logit = s_u <e_t, i_k> - o_u + noise
    e_t ~ N(A_a(t), x I)         track t of artist a
    A_a ~ sum_g w_g N(G_g, v I)  artist, in a mixture of genres
    i_k ~ N(m, y I)              interest k of a user: at most three
    e_f ~ N(c + mu i_k, n I)     first track of a session

Every playback sends a Gaussian message to its track and one to its interest, each made from what
is known of the other side without this playback.

Source: Minka (2001), Expectation Propagation; Stern, Herbrich, Graepel (2009), Matchbox.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from services.trainer.core.playbacks import IntArray
from services.trainer.core.session.groups import Block, make_blocks
from services.trainer.core.session.likelihood import differentiate
from services.trainer.core.session.plays import Index, Plays
from services.trainer.core.session.start import Start

MAX_VARIANCE = 60.0
FIRST_TRACK_VARIANCE = 0.1  # of a coordinate, before tracks were ever updated
FIRST_VARIANCES = (2.0, 1.0, 1.0)  # of a logit, from interest, track and both
SLOPE_MEAN, SLOPE_VARIANCE = 1.1, 0.15
OFFSET_MEAN, OFFSET_VARIANCE = 5.5, 12.0


@dataclass(frozen=True)
class Prior:
    """Scales that the log does not tell well; learning them makes vectors shrink.

    Attributes:
        track, artist, interest, first: Traces of the covariances x, A, y, n.
        around, anchor, anchor_artist: Traces of w I, u I and v I of `anchors`.
        within: Share of an artist's variance that is not its genre's.
        follow: mu.
        anchor_follow: k of `anchors`.
        noise: Variance of a logit that nothing explains.
        n_genres: At most.
    """

    track: float = 5.6
    artist: float = 12.0
    interest: float = 17.0
    first: float = 11.0
    around: float = 9.0
    anchor: float = 3.0
    anchor_artist: float = 4.0
    within: float = 0.5
    follow: float = 0.65
    anchor_follow: float = 0.6
    noise: float = 0.3
    n_genres: int = 64


class Beliefs:
    """All that is believed, and per playback its two cavities.

    Attributes:
        track: Posterior means, (n_tracks, d); `track_trace` the traces of their covariances, and
            `track_variance` what those make of a logit's variance, (n_tracks,).
        interest: Posterior means, (n_interests, d); `interest_diagonal` of their covariances.
        interest_sum: Sum of the interests' covariances, (d, d).
        slope, offset: Per user; `listener_covariance` (n_users, 3): of s, of s and o, of o.
        interest_centre, first_centre: m and c, (d,).
        track_cavity, interest_cavity: Means without the playback, (n_plays, d).
        from_interest, from_track, from_both: Variance of the logit, (n_plays,).
        margin: How sure each session is of its group, in logarithms of evidence, (n_sessions,).
    """

    def __init__(self, plays: Plays, artist_rows: IntArray, start: Start, prior: Prior) -> None:
        """Begin with a rough model; `set_interests` must follow."""
        self.plays, self.prior = plays, prior
        self.track, self.slope, self.offset = start.track, start.slope, start.offset
        self.dim = start.track.shape[1]
        self.n_tracks = len(artist_rows)
        self.artist = torch.from_numpy(artist_rows).long()
        self.n_artists = int(artist_rows.max()) + 1
        self.logit, self.side = torch.from_numpy(plays.logit), torch.from_numpy(plays.side)
        self.rounding = torch.from_numpy(plays.rounding)
        self.track_of, self.user_of = torch.from_numpy(plays.track), torch.from_numpy(plays.user)
        self.first = torch.from_numpy(plays.first)
        self.track_blocks = make_blocks(plays.track, self.n_tracks)
        self.track_cavity = self.track[self.track_of]
        self.from_interest, self.from_track, self.from_both = (
            torch.full((len(plays),), variance) for variance in FIRST_VARIANCES
        )
        self.track_trace = torch.full((self.n_tracks,), FIRST_TRACK_VARIANCE * self.dim)
        self.track_variance = torch.zeros(self.n_tracks)
        self.interest_centre = start.interest_centre
        self.first_centre = self.track[self.first].mean(0) - prior.follow * self.interest_centre
        self.margin = torch.zeros(len(self.first))
        self.artist_mean = torch.zeros(self.n_artists, self.dim)
        self.listener_mean = torch.tensor([SLOPE_MEAN, OFFSET_MEAN])
        self.listener_variance = torch.tensor([SLOPE_VARIANCE, OFFSET_VARIANCE])
        self.listener_covariance = torch.zeros(plays.n_users, 3)

        # Made by `interests.start_interests`.
        self.interest = self.interest_diagonal = torch.zeros(0, self.dim)
        self.interest_sum = torch.zeros(self.dim, self.dim)
        self.interest_cavity = torch.zeros(0, self.dim)

    def set_interests(self, interest_of_session: Index) -> None:
        """Say which sessions share an interest; `start_interests` must follow."""
        self.interest_of_session = torch.from_numpy(interest_of_session)
        self.n_interests = int(interest_of_session.max()) + 1
        interest_of_play = interest_of_session[self.plays.session]
        self.interest_of = torch.from_numpy(interest_of_play)
        self.interest_blocks: list[Block] = make_blocks(interest_of_play, self.n_interests)

    def scale(self, name: str) -> float:
        """Return a prior's variance of one coordinate."""
        return float(getattr(self.prior, name)) / self.dim

    def predict(self) -> tuple[Tensor, Tensor, Tensor]:
        """Predict each logit without its own playback.

        Returns:
            <e, i>, mean and variance of the logit, all (n_plays,).
        """
        product = (self.track_cavity * self.interest_cavity).sum(1)
        mean = self.slope[self.user_of] * product - self.offset[self.user_of]
        unexplained = self.rounding + self.prior.noise
        explained = self.from_interest + self.from_track + self.from_both
        return product, mean, (unexplained + explained).clamp(max=MAX_VARIANCE)

    def make_messages(self, own: Tensor) -> tuple[Tensor, Tensor, float]:
        """Make the message of each playback to one side.

        Args:
            own: Variance of the logit that comes from this side, (n_plays,).

        Returns:
            Precision and target, of <e, i> times the slope, and the mean loss of the predictions.
        """
        _, mean, variance = self.predict()
        gradient, curvature, loss = differentiate(mean, variance, logit=self.logit, side=self.side)
        weight = 1 / (1 / curvature - own).clamp(min=self.prior.noise)
        target = mean + gradient / curvature + self.offset[self.user_of]
        return weight, target, float(loss.mean())

    def make_design(self, other: Tensor, rows: Tensor) -> Tensor:
        """Return s times the other side's cavities of playbacks (b, n): h, (b, n, d)."""
        return other[rows] * self.slope[self.user_of[rows]][..., None]

    def refresh_both(self) -> None:
        """Renew the variance that neither side alone makes: s^2 tr(V_e) tr(V_i) / d."""
        traces = self.interest_trace[self.interest_of] * self.track_trace[self.track_of]
        self.from_both = self.slope[self.user_of] ** 2 * traces / self.dim

    @property
    def interest_trace(self) -> Tensor:
        """Traces of the interests' covariances, (n_interests,)."""
        return self.interest_diagonal.sum(1)
