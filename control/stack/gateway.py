"""The gateway's front: HAProxy before the replicas that Ray Serve runs, all on loopback.

Serve's own HAProxy mode needs two more Python processes, listens on all interfaces for its counters and turns every
503 of its own into a 500; see docs/adr/0009-gateway-front.md. Here Serve's replicas listen themselves (its direct
ingress), on ports that this stack reserved, and HAProxy passes requests to those that answer for this very stack.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

from colony.config.endpoints import GatewayEndpoint
from colony.errors import BadInput
from control.stack.binaries import find_haproxy
from control.stack.context import LOOPBACK, StackContext
from control.stack.credentials import write_private
from control.stack.ports import BLOCKS
from control.stack.probes import http_answers
from control.stack.spec import ServiceSpec
from ray_app.gateway.plan import gateway_plan

NAME: Final = "gateway"

MOST_REPLICAS: Final = BLOCKS["gateway-replicas"] // 2
"""Ports of replicas that died stay closed for a while (`QUARANTINE_SECONDS`): as many again are for those."""

QUARANTINE_SECONDS: Final = 65
"""Longer than the kernel keeps ended connections (60 s): Serve cannot listen on a port before, and then never tries
it again."""

_CONFIG: Final = """global
    maxconn 8192
    nbthread 1
    hard-stop-after 5s
    noreuseport
defaults
    mode http
    timeout connect 2s
    timeout client 3600s
    timeout server 3600s
    timeout http-request 15s
    timeout http-keep-alive 75s
    timeout check 5s
    timeout queue 5s
    option abortonclose
    option http-no-delay
    option redispatch 1
    retries {replicas}
    retry-on conn-failure
    balance leastconn
    http-error status 502 content-type application/json string '{broke}'
    http-error status 503 content-type application/json string '{away}' hdr Retry-After 2
    http-error status 504 content-type application/json string '{broke}'
frontend gateway
    bind {address}
    default_backend replicas
backend replicas
    http-reuse always
    option httpchk
    http-check connect
    http-check send meth GET uri /-/healthz ver HTTP/1.1 hdr Host gateway hdr Connection close
    http-check expect status 200
    http-check connect
    http-check send meth GET uri /-/stack/{tag} ver HTTP/1.1 hdr Host gateway hdr Connection close
    http-check expect status 200
    default-server inter 1s fastinter 250ms downinter 500ms fall 2 rise 1
    default-server observe layer4 error-limit 1 on-error mark-down
{servers}
"""
_AWAY: Final = (
    '{"error":{"message":"The gateway is starting. Try again soon.","type":"server_error",'
    '"param":null,"code":"unavailable"}}'
)
_BROKE: Final = (
    '{"error":{"message":"The gateway broke off. Try again.","type":"server_error","param":null,"code":"unavailable"}}'
)


def wanted(context: StackContext) -> bool:
    """Whether this configuration has models to front."""
    return bool(gateway_plan(context.config).backends) and context.providers["ray"].kind != "configured"


def front(context: StackContext) -> str:
    """`haproxy`, or `proxy` (Ray Serve's own) where that is configured or HAProxy is not here."""
    return "proxy" if find_haproxy() is None else context.config.gateway.front


def runs_here(context: StackContext) -> bool:
    """Whether HAProxy is a service of this stack."""
    return wanted(context) and front(context) == "haproxy"


def endpoint(context: StackContext) -> GatewayEndpoint | None:
    """Where the models are asked; None where there are none."""
    if not wanted(context):
        return None
    return GatewayEndpoint(
        url=f"http://{context.address('gateway')}",
        key_file=str(context.secret("gateway-key")),
        proxy=context.ports["gateway" if front(context) == "proxy" else "gateway-proxy"],
    )


def serve_environment(context: StackContext) -> dict[str, str]:
    """What Ray must be started with, so that Serve's controller and replicas inherit it."""
    if not wanted(context):
        return {}
    if front(context) == "proxy":
        return {"RAY_SERVE_LOG_TO_STDERR": "0"}
    first = context.ports["gateway-replicas"]
    return {
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_ENABLE_DIRECT_INGRESS": "1",
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(first),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(first + BLOCKS["gateway-replicas"]),
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",
        "RAY_SERVE_PORT_QUARANTINE_S": str(QUARANTINE_SECONDS),
    }


def spec(context: StackContext) -> ServiceSpec:
    """HAProxy, ready when a replica answers through it. Raises `BadInput` for more replicas than there are ports."""
    binary = find_haproxy()
    if binary is None:
        raise BadInput("HAProxy is not here.", remedy="Set gateway.front to proxy.")
    if context.config.gateway.replicas.most > MOST_REPLICAS:
        raise BadInput(
            f"gateway.replicas.most is more than {MOST_REPLICAS}, the most of one machine.",
            remedy="Lower it, or run the gateway on a cluster (docs).",
        )
    file = context.paths.configs / "gateway-haproxy.cfg"
    health = f"http://{context.address('gateway')}/health"

    async def probe(_pid: int) -> bool:
        return await http_answers(health)

    return ServiceSpec(
        name=NAME,
        provider="Ray Serve, HAProxy",
        address=context.address("gateway"),
        command=(str(binary), "-db", "-f", str(file)),
        environment=context.server_environment(),
        folder=context.paths.run,
        probe=probe,
        depends_on=("ray", "dispatcher"),
        stop_seconds=2.0,
        start_seconds=180.0,
        prepare=partial(_write_config, file, config_text(context)),
    )


def config_text(context: StackContext) -> str:
    """The configuration file. Pure."""
    first = context.ports["gateway-replicas"]
    ports = range(first, first + BLOCKS["gateway-replicas"])
    return _CONFIG.format(
        address=context.address("gateway"),
        tag=context.paths.tag,
        away=_AWAY,
        broke=_BROKE,
        replicas=len(ports),
        servers="\n".join(f"    server replica-{port} {LOOPBACK}:{port} check" for port in ports),
    )


async def _write_config(file: Path, text: str) -> None:
    write_private(file, text)
