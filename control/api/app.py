"""The ASGI application of the HTTP API."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Route

from colony.errors import ColonyError
from colony.telemetry.port import OFF, Tracer
from control.api.agents import AgentRoutes
from control.api.codec import CodecFront, CodecRoutes
from control.api.edge import Application, Edge, EdgeSettings
from control.api.jobs import JobRoutes
from control.api.models import Problem
from control.api.parts import Parts
from control.api.problems import answer, problem_of
from control.api.results import ResultRoutes
from control.api.schedules import ScheduleRoutes
from control.api.system import SystemRoutes
from control.api.traced import TracedApi
from control.api.transcripts import TranscriptRoutes

DESCRIPTION = "Jobs, schedules, agents, templates and the fleet of a Colony. Every error is a problem as RFC 9457 says."


def build_app(parts: Parts, settings: EdgeSettings, tracer: Tracer = OFF) -> Application:
    """The application: who may ask is settled before any route is looked for."""
    routes = build_routes(parts)
    return CodecFront(Edge(TracedApi(routes, tracer) if tracer.on else routes, settings), settings.ui_origin)


def build_routes(parts: Parts) -> FastAPI:
    """The routes alone, which let everybody in."""
    app = _Api(
        title="Colony",
        version="1",
        description=DESCRIPTION,
        docs_url=None,  # those pages load scripts from elsewhere
        redoc_url=None,
        separate_input_output_schemas=False,
        redirect_slashes=False,
    )
    parted = (JobRoutes, ResultRoutes, TranscriptRoutes, AgentRoutes, ScheduleRoutes, SystemRoutes, CodecRoutes)
    routers = [routes(parts).router() for routes in parted]
    for router in routers:
        app.include_router(router)
    app.state.routes = [route for router in routers for route in router.routes]
    for kind in (ColonyError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _problem)
    return app


class _Api(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """What FastAPI makes, with the model of problems and the ways to send the key."""
        found = super().openapi()
        parts = found.setdefault("components", {})
        parts.setdefault("schemas", {})["Problem"] = Problem.model_json_schema()
        parts["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
        found["security"] = [{"bearer": []}, {"key": []}]
        return found


async def _problem(request: Request, error: Exception) -> Response:
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    if "Allow" in headers:
        headers["Allow"] = ", ".join(_methods(request))
    return answer(problem_of(error), headers)


def _methods(request: Request) -> list[str]:
    """Every method of a path; Starlette names those of one route only."""
    found: set[str] = set()
    routes: list[BaseRoute] = request.app.state.routes
    for route in routes:
        if isinstance(route, Route) and route.path_regex.match(request.scope["path"]):
            found |= route.methods or set()
    return sorted(found)
