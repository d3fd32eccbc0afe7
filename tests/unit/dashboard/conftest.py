from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.dashboard.factories import Dashboard, serving


@pytest.fixture
async def dashboard(tmp_path: Path) -> AsyncIterator[Dashboard]:
    """Return the service with stand-ins behind it."""
    async with serving(tmp_path) as dashboard:
        yield dashboard
