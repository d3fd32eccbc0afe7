"""Anchors and groups of sessions: against exact normals, and against a planted truth."""

import copy
import functools

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from services.trainer.core.parameters import report_nothing
from services.trainer.core.session.anchors import derive_anchors
from services.trainer.core.session.beliefs import Beliefs
from services.trainer.core.session.fitting import fit_beliefs
from services.trainer.core.session.grouping import SURE, regroup_sessions
from services.trainer.core.session.interests import group_sessions
from services.trainer.core.session.plays import Index, prepare_plays
from services.trainer.core.session.settling import Groups, Told, log_evidence, split_turns
from tests.unit.trainer.session_world import plant

DIM = 8


@functools.cache
def fit() -> Beliefs:
    plays = prepare_plays(plant().log, plant().catalog)
    rows = plant().catalog.artist_rows
    return fit_beliefs(plays, rows, dim=DIM, seed=0, report=report_nothing)


def share_right(label: Index) -> float:
    """Return the share of pairs of a user's sessions that are rightly together or apart."""
    planted, user = plant(), fit().plays.session_user
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, len(user), (2, 2_000_000))
    both = (user[a] == user[b]) & (a != b)
    a, b = a[both], b[both]
    same, together = planted.interest[a] == planted.interest[b], label[a] == label[b]
    return float((same == together).mean())


def test_evidence_groups_better_than_first_tracks_alone() -> None:
    beliefs = fit()
    first = beliefs.track[beliefs.first].numpy()
    by_first = share_right(group_sessions(beliefs.plays.session_user, first))
    by_evidence = share_right(regroup_sessions(beliefs, derive_anchors(beliefs)))
    assert by_evidence > max(by_first + 0.008, 0.85), (by_evidence, by_first)


def test_groups_are_a_users_own_three_at_most_and_numbered_without_a_gap() -> None:
    beliefs = fit()
    user = beliefs.plays.session_user
    label = regroup_sessions(beliefs, derive_anchors(beliefs))
    assert np.array_equal(np.unique(label), np.arange(label.max() + 1))
    pairs = np.unique(np.stack([label, user]), axis=1)
    assert pairs.shape[1] == label.max() + 1  # a group has one user
    assert np.bincount(pairs[1]).max() <= 3


def test_log_evidence_is_the_normal_integral() -> None:
    rng = np.random.default_rng(1)
    mean, variance = rng.normal(size=3), 0.7
    design, noise = rng.normal(size=(5, 3)), rng.uniform(0.2, 1.0, 5)
    seen = rng.normal(size=5)
    marginal = multivariate_normal.logpdf(
        seen, design @ mean, design @ design.T * variance + np.diag(noise)
    )
    message, pull = (design.T / noise) @ design, (design.T / noise) @ seen
    prior = np.eye(3) / variance
    ratio = log_evidence(
        torch.tensor(prior + message), torch.tensor(mean / variance + pull)
    ) - log_evidence(torch.tensor(prior), torch.tensor(mean / variance))
    # What the data alone contribute is the same for every group.
    constant = multivariate_normal.logpdf(seen, np.zeros(5), np.diag(noise))
    assert float(ratio) == pytest.approx(marginal - constant)


def test_groups_are_those_of_the_plain_loop_over_sessions() -> None:
    """One session after another: out of its group, into the one whose evidence it raises most."""
    beliefs, rng = fit(), np.random.default_rng(2)
    user = rng.integers(0, 6, 60)
    root = torch.from_numpy(rng.normal(size=(60, DIM, 3)).astype(np.float32))
    told = Told(
        root @ root.transpose(1, 2), torch.from_numpy(3 * rng.normal(size=(60, DIM))).float()
    )
    before = rng.integers(0, 3, 60)
    is_asked = rng.random(60) < 0.7
    label, margin = Groups(
        beliefs.interest_centre, variance=beliefs.scale("interest"), n_users=6
    ).settle(told, user, before, is_asked, n_rounds=2)

    y = beliefs.scale("interest")
    expected, by = before.copy(), np.full(60, np.nan)
    for _ in range(2):
        for session in np.flatnonzero(is_asked):
            expected[session] = -1
            gains = []
            for group in range(3):
                within = np.flatnonzero((user == user[session]) & (expected == group))
                precision = torch.eye(DIM) / y + told.precision[within].sum(0)
                pull = beliefs.interest_centre / y + told.pull[within].sum(0)
                joined = log_evidence(
                    precision + told.precision[session], pull + told.pull[session]
                )
                gains.append(float(joined - log_evidence(precision, pull)))
            own = expected[user == user[session]]
            is_empty = np.array([group not in own for group in range(3)])
            values = gains + is_empty * np.log(max(is_empty.sum(), 1))
            expected[session] = chosen = np.argmax(values)
            # One of two empty groups is no better than the other.
            others = ~(is_empty & is_empty[chosen]) & (np.arange(3) != chosen)
            by[session] = values[chosen] - max(values[others], default=-np.inf)
    assert len(set(label.tolist())) == 3
    assert np.array_equal(label, expected)
    assert margin.numpy() == pytest.approx(by[is_asked], rel=1e-3, abs=1e-3)


def test_sure_sessions_stay_until_they_are_forgotten_to_be() -> None:
    beliefs = copy.copy(fit())
    anchors, before = derive_anchors(beliefs), beliefs.interest_of_session
    shuffled = np.random.default_rng(0).permutation(len(before))
    # Nobody shares an interest with the right sessions any more.
    user = beliefs.plays.session_user
    wrong = np.unique(user * 3 + shuffled % 3, return_inverse=True)[1]
    beliefs.interest_of_session, beliefs.n_interests = torch.from_numpy(wrong), wrong.max() + 1

    beliefs.margin = torch.full((len(user),), 3 * SURE)
    assert np.array_equal(regroup_sessions(beliefs, anchors), wrong)
    assert np.array_equal(regroup_sessions(beliefs, anchors), wrong)
    moved = regroup_sessions(beliefs, anchors, n_rounds=2)
    assert share_right(moved) > share_right(wrong) + 0.1
    assert 0.5 < float((beliefs.margin > SURE).float().mean()) < 1


def test_turns_take_every_users_sessions_in_order() -> None:
    turns = split_turns(np.array([4, 1, 4, 4, 1, 9]))
    assert [sorted(turn.tolist()) for turn in turns] == [[0, 1, 5], [2, 4], [3]]


def test_anchors_are_the_posterior_of_their_hierarchy() -> None:
    beliefs, anchors = fit(), derive_anchors(fit())
    artist = int(beliefs.artist[beliefs.first[0]])
    tracks = np.flatnonzero(beliefs.artist.numpy() == artist)
    w, u, v = (beliefs.scale(name) for name in ("around", "anchor", "anchor_artist"))
    interest = beliefs.interest[beliefs.interest_of_session].numpy()
    first = beliefs.first.numpy()
    centred = beliefs.track.numpy() - beliefs.track.numpy()[first].mean(0)
    base = beliefs.interest.numpy().mean(0) + beliefs.prior.anchor_follow * centred

    # b = base + r + N(0, u) with one r ~ N(0, v) for all; a session sees its b + N(0, w).
    prior = np.full((len(tracks), len(tracks)), v) + u * np.eye(len(tracks))
    seen = [np.flatnonzero(first == track) for track in tracks]
    assert {0} < {len(rows) for rows in seen}, "some tracks started sessions and some did not"
    design = np.repeat(np.eye(len(tracks)), [len(rows) for rows in seen], axis=0)
    gain = prior @ design.T @ np.linalg.inv(design @ prior @ design.T + w * np.eye(len(design)))
    residual = interest[np.concatenate(seen)] - design @ base[tracks]
    expected = base[tracks] + gain @ residual
    assert anchors.mean[tracks].numpy() == pytest.approx(expected, abs=1e-3)
    doubt = np.diag(prior - gain @ design @ prior)
    assert anchors.variance[tracks].numpy() == pytest.approx(w + doubt, rel=1e-3)
