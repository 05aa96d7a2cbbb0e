"""The web application: hayhooks' REST API and MCP server, what the page needs beside them, and the page itself."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, get_args

from api_document import api_document
from elastic_transport import TransportError
from elasticsearch import ApiError
from fastapi import APIRouter, FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from hayhooks import create_app
from hayhooks.server.utils.mcp_utils import create_mcp_server
from hayhooks.settings import settings
from index_views import Facet, IndexViews, WholeDocument
from mcp.server.fastmcp.server import StreamableHTTPASGIApp
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from pipelines.search.answers import Mode
from pipelines.search.faults import declared, http_error
from pydantic import BaseModel
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Lifespan, Scope
from typing_extensions import TypedDict

from medte_haystack.errors import MedTEError

HERE = Path(__file__).parent

# Nothing but files of this server runs or is shown, and no script may turn text into HTML: lit-html's templates, which
# are constants of ours, are the one exception that the browser makes.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'; trusted-types lit-html"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # the address holds the query
    "Cache-Control": "no-cache",
}

router = APIRouter(tags=["index"])


class Selection(BaseModel):
    """What is chosen to filter by.

    :param selected: Field -> values of which a document must have one.
    """

    selected: dict[str, list[str]] = {}


class Facets(TypedDict):
    """What can be filtered by."""

    facets: list[Facet]


class Health(TypedDict):
    """What is served."""

    status: str
    index: str
    model: str
    documents: int


@router.get("/health", responses=declared(503))
async def health(request: Request) -> Health:
    """Search for something, so that model, server and index are known to work together."""
    search = request.app.state.search
    try:
        await search.run_api_async("health", top_k=1)
        documents = await request.app.state.views.count()
    except HTTPException as error:
        raise HTTPException(503, error.detail) from error
    return {"status": "ok", "index": search.index, "model": search.model, "documents": documents}


@router.post("/facets", responses=declared(404, 422, 503))
async def facets(selection: Selection, request: Request) -> Facets:
    """Return metadata fields of few values, and how many documents have each value."""
    return {"facets": await request.app.state.views.facets(selection.selected)}


@router.get("/document", responses=declared(404, 422, 503))
async def document(
    document_id: Annotated[str, Query(alias="id", description="As a search gives it.")], request: Request
) -> WholeDocument:
    """Return a whole source document, its passages in the order of the text."""
    found: WholeDocument | None = await request.app.state.views.document(document_id)
    if found is None:
        raise HTTPException(404, f"the index has no document {document_id!r:.80}")
    return found


class Page(StaticFiles):
    """The page's files, with the headers that keep everything else out."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return a file."""
        response = await super().get_response(path, scope)
        response.headers.update(_HEADERS)
        return response


def create_application(hosts: Sequence[str]) -> FastAPI:
    """Return the application; it answers once the model is loaded and the index was searched.

    :param hosts: Names under which it may be asked, ``*`` for any: a page of another site that had its own name lead
        here would otherwise read the index.
    """
    settings.pipelines_dir = str(HERE / "pipelines")
    settings.durable_mode = True  # the pipelines are fixed: nobody deploys code through the API
    settings.cors_allow_origins = []
    settings.tracing_enabled = settings.tracing_include_haystack_spans = settings.monitoring_enabled = False
    app: FastAPI = create_app()
    app.title, app.description = "Medical search", "Dense, BM25 and hybrid search over one index."
    search = app.state.search = app.state.pipeline_registry.get("search")
    app.state.views = IndexViews(search.store.async_client, search.index)
    tools = StreamableHTTPSessionManager(
        create_mcp_server("medical-search", app.state.pipeline_registry), json_response=True, stateless=True
    )
    app.router.lifespan_context = _lifespan(app.router.lifespan_context, tools)
    document = api_document(app, router.routes)
    app.openapi = lambda: document  # type: ignore[method-assign]  # as FastAPI's manual extends it
    app.include_router(router)
    app.router.routes.append(Route("/mcp", StreamableHTTPASGIApp(tools)))
    app.mount("/", Page(directory=HERE / "page", html=True))
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)
    for kind in (MedTEError, ApiError, TransportError):
        app.add_exception_handler(kind, _answer_fault)
    app.add_exception_handler(RequestValidationError, _answer_malformed)
    return app


def _lifespan(hayhooks: Lifespan[FastAPI], tools: StreamableHTTPSessionManager) -> Lifespan[FastAPI]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        search = app.state.search
        async with hayhooks(app), tools.run():
            try:
                for mode in get_args(Mode):
                    await search.run_api_async("warm-up", mode)
                await app.state.views.facets({})
                yield
            finally:
                await search.store.close_async()

    return lifespan


async def _answer_fault(request: Request, error: Exception) -> Response:  # noqa: ARG001
    found = http_error(error)
    return JSONResponse({"detail": found.detail}, found.status_code, found.headers)


async def _answer_malformed(request: Request, error: Exception) -> Response:  # noqa: ARG001
    """Say what is wrong with a request without repeating its values: some cannot be written, none is for the log."""
    assert isinstance(error, RequestValidationError)
    found = [{name: one[name] for name in ("type", "loc", "msg")} for one in error.errors()]
    return JSONResponse({"detail": found}, 422)
