"""A world small enough to loop in."""

from deploy.loop.plan import Plan
from deploy.loop.playing import Theatre, make_theatre
from simulator.core.world import World, make_world

PLAN = Plan(days=2, tracks=300, users=60, history=400, sessions=80, judged=30, bounded=20, seed=3)


def make_stage(plan: Plan = PLAN, *, n_workers: int = 1) -> tuple[World, Theatre]:
    world = make_world(plan.world)
    return world, make_theatre(plan, world, n_workers)
