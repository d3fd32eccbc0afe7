"""What the routes use, from the start to the end of the application."""

from dataclasses import dataclass

from fastapi import Request

from services.dashboard.adapters.catalog import CatalogHolder
from services.dashboard.adapters.maps import Maps
from services.dashboard.adapters.peers import Peers
from services.dashboard.core.listening import Listeners
from services.dashboard.drawings import Drawings
from services.dashboard.experiments import Experiments
from services.dashboard.pulse import Pulse
from services.dashboard.rendering import Pages
from services.dashboard.settings import Settings


@dataclass(frozen=True)
class State:
    """The parts of the running service."""

    settings: Settings
    experiments: Experiments
    drawings: Drawings
    peers: Peers
    catalog: CatalogHolder
    maps: Maps
    listeners: Listeners
    pulse: Pulse
    pages: Pages


def get_state(request: Request) -> State:
    """Return the state that a request's application holds."""
    state: State = request.state.dashboard
    return state
