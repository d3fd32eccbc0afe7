"""The catalogue in Redis: the recommender puts it there, for whoever learns from its tracks."""

from redis.asyncio import Redis

from shared.artifacts import PREFIX, ArtifactError
from shared.catalog import Catalog, InvalidCatalogError, parse_catalog

CATALOG_KEY = f"{PREFIX}catalog"


async def publish_catalog(redis: Redis, catalog: Catalog) -> None:
    """Put the catalogue where the trainer finds it."""
    await redis.set(CATALOG_KEY, catalog.to_json_lines())


async def fetch_catalog(redis: Redis) -> Catalog:
    """Fetch the catalogue.

    Raises:
        ArtifactError: If none was published, or it is damaged.
    """
    payload = await redis.get(CATALOG_KEY)
    if payload is None:
        raise ArtifactError("no catalogue in Redis: is the recommender up?")
    try:
        return parse_catalog(payload)
    except InvalidCatalogError as error:
        raise ArtifactError(f"catalogue in Redis: {error}") from error
