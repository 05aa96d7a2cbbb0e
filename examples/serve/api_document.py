"""What the API says of itself: the search and our own routes, each with the faults it may answer with.

hayhooks' other routes (status, drawing, OpenAI's API) are left out: no pipeline here is behind them.
"""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pipelines.search.faults import declared
from starlette.routing import BaseRoute

_SEARCH = "/search/run"


def api_document(app: FastAPI, ours: Sequence[BaseRoute]) -> dict[str, Any]:
    """Return the OpenAPI document.

    :param app: hayhooks' application with its route of the search, which declares no faults.
    :param ours: Routes beside it.
    """
    (run,) = (one for one in app.routes if isinstance(one, APIRoute) and one.path == _SEARCH)
    search = APIRouter()
    search.add_api_route(
        run.path,
        run.endpoint,
        methods=["POST"],
        name=run.name,
        response_model=run.response_model,
        tags=["search"],
        description=run.description,
        responses=declared(404, 409, 422, 503),
    )
    return get_openapi(
        title=app.title, version=app.version, description=app.description, routes=[*search.routes, *ours]
    )
