"""The gateway as Ray Serve's configuration describes it, and what to do where it differs. Pure."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import orjson
from pydantic import BaseModel, ConfigDict

from colony.config.endpoints import Endpoints
from colony.config.model import Config

NAME: Final = "colony-gateway"
IMPORT_PATH: Final = "ray_app.gateway.serve_app:build"
LOOPBACK: Final = "127.0.0.1"
KEEP_ALIVE: Final = 90
"""Longer than the front keeps idle connections, so that it never sends into one that is being closed."""

ATTEMPT: Final = "attempt"
GIVEN_UP: Final = ("DEPLOY_FAILED", "NOT_STARTED", "DELETING")

Json = Mapping[str, Any]


class _Said(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Given(_Said):
    """What an application was deployed with."""

    import_path: str = ""
    args: dict[str, Any] = {}


class Part(_Said):
    """One deployment of an application."""

    message: str = ""


class Running(_Said):
    """One application."""

    status: str = ""
    message: str = ""
    deployed_app_config: Given = Given()
    deployments: dict[str, Part] = {}


class ServeState(_Said):
    """What Serve runs: the part of `GET /api/serve/applications/` that matters here."""

    applications: dict[str, Running] = {}


class Step(StrEnum):
    """What the keeper does next."""

    DEPLOY = "deploy"
    WAIT = "wait"
    """It is on its way."""
    NOTHING = "nothing"


def stack_tag(home: Path) -> str:
    """Short name of a stack, the same as in the stack's own paths."""
    return hashlib.sha256(os.fsencode(home)).hexdigest()[:10]


def version_of(config: Config) -> str:
    """Changes whenever the gateway has to be started anew for its configuration."""
    said = {
        "gateway": config.gateway.model_dump(mode="json"),
        "model": config.model.model_dump(mode="json"),
        "tiers": {str(name): found.tier for name, found in config.fleet.types.items()},
    }
    return hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).hexdigest()[:12]


def application(args: Json) -> dict[str, Any]:
    """The application itself: the same here and in `deploy/serve.yaml`."""
    return {"name": NAME, "route_prefix": "/", "import_path": IMPORT_PATH, "args": dict(args)}


def serve_config(args: Json, *, host: str = LOOPBACK, port: int = 8000) -> dict[str, Any]:
    """All that Serve is told, in the form of `serve deploy`."""
    return {
        "proxy_location": "HeadOnly",
        "http_options": {"host": host, "port": port, "keep_alive_timeout_s": KEEP_ALIVE},
        "logging_config": {"enable_access_log": False},
        "applications": [application(args)],
    }


def wanted(endpoints: Endpoints, config: Config, *, attempt: int = 0) -> dict[str, Any]:
    """What a stack's Serve must run. `attempt` makes Serve try again what it gave up."""
    args = {"home": endpoints.home, "version": version_of(config), ATTEMPT: attempt}
    if endpoints.gateway is None:
        return serve_config(args)
    return serve_config(args, host=endpoints.gateway.host, port=endpoints.gateway.proxy)


def step(found: ServeState, asked: Json, *, by_hand: bool = False) -> Step:
    """What to do about what Serve says it runs, when it was asked to run the application with the args `asked`.

    `by_hand`: an application of ours that somebody deployed from the file, which names no args, is as good.
    """
    running = found.applications.get(NAME)
    if running is None:
        return Step.DEPLOY
    given = running.deployed_app_config
    same = given.import_path == IMPORT_PATH and all(
        given.args.get(name, value if by_hand else None) == value for name, value in asked.items() if name != ATTEMPT
    )
    if not same or running.status in GIVEN_UP:
        return Step.DEPLOY
    return Step.NOTHING if running.status == "RUNNING" else Step.WAIT


def trouble_of(found: ServeState) -> str:
    """Why Serve could not start it, in one line; empty where it did not say."""
    running = found.applications.get(NAME)
    if running is None:
        return ""
    messages = [*(one.message for one in running.deployments.values()), running.message]
    found_lines = [message.strip().splitlines() for message in messages if message.strip()]
    return found_lines[0][-1].strip()[:300] if found_lines else ""
