"""The trainer's HTTP edge: all its routes, and what they use."""

from fastapi import APIRouter

from services.trainer.model_routes import add_model_routes
from services.trainer.training_routes import add_training_routes


def create_router() -> APIRouter:
    """Create the routes; they find their `State` as `request.state.trainer`."""
    router = APIRouter()
    add_training_routes(router)
    add_model_routes(router)
    return router
