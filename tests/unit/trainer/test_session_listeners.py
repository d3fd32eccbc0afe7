"""Listeners' slopes and offsets, regressed on what their playbacks tell."""

import copy

import torch

from services.trainer.core.parameters import report_nothing
from services.trainer.core.session.beliefs import SLOPE_MEAN, Beliefs
from services.trainer.core.session.fitting import Plan, fit_beliefs
from services.trainer.core.session.likelihood import differentiate
from services.trainer.core.session.listeners import update_listeners
from services.trainer.core.session.plays import prepare_plays
from tests.unit.trainer.session_world import plant


def believe() -> Beliefs:
    planted = plant()
    plays = prepare_plays(planted.log, planted.catalog)
    plan = Plan(n_iterations=2, regroup_after=(), genres_from=2)
    rows = planted.catalog.artist_rows
    return fit_beliefs(plays, rows, dim=8, seed=0, report=report_nothing, plan=plan)


def test_predictions_stay_where_the_playbacks_are_though_the_mean_slope_is_kept() -> None:
    beliefs = copy.copy(believe())
    # Interests that are believed too small ask for steeper slopes, which they do not get.
    beliefs.interest_cavity = beliefs.interest_cavity * 0.6
    product, mean, variance = beliefs.predict()
    gradient, weight, _ = differentiate(mean, variance, logit=beliefs.logit, side=beliefs.side)
    target = mean + gradient / weight
    update_listeners(beliefs)
    user = beliefs.user_of
    predicted = beliefs.slope[user] * product - beliefs.offset[user]
    assert abs(float(beliefs.slope.mean()) - SLOPE_MEAN) < 1e-5
    error = float((weight * (target - predicted)).sum() / weight.sum())
    spread = float(torch.sqrt((weight * (target - predicted) ** 2).sum() / weight.sum()))
    assert abs(error) < 0.05 * spread
