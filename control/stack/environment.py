"""What `colony env` prints: addresses and files of tokens for the usual clients, never a secret. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from colony.config.endpoints import Endpoints


def client_environment(endpoints: Endpoints) -> dict[str, str]:
    """Variables that the `temporal`, `ray`, `consul`, `nats` and `psql` clients read, and ours."""
    found = {
        "COLONY_HOME": endpoints.home,
        "TEMPORAL_ADDRESS": endpoints.temporal.address,
        "TEMPORAL_NAMESPACE": endpoints.temporal.namespace,
        "NATS_URL": endpoints.nats.url,
        "NATS_USER": "client",
        "NATS_PASSWORD_FILE": f"{endpoints.nats.credentials}/nats-client",
        "PGHOST": endpoints.postgres.host,
        "PGPORT": str(endpoints.postgres.port),
        "PGDATABASE": endpoints.postgres.database,
        "PGUSER": endpoints.postgres.user,
    }
    if endpoints.ray.address:
        found["RAY_ADDRESS"] = endpoints.ray.address
    if endpoints.ray.dashboard:
        found["RAY_API_SERVER_ADDRESS"] = endpoints.ray.dashboard
    if endpoints.ray.token_file:
        found |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": endpoints.ray.token_file}
    if endpoints.registry.kind == "consul":
        found["CONSUL_HTTP_ADDR"] = endpoints.registry.address
        found["CONSUL_HTTP_TOKEN_FILE"] = f"{endpoints.registry.credentials}/consul-client"
    if endpoints.gateway is not None:
        found |= {
            "OPENAI_BASE_URL": f"{endpoints.gateway.url}/v1",
            "OPENAI_API_KEY_FILE": endpoints.gateway.key_file,
        }
    if endpoints.api is not None:
        found |= {"COLONY_API_URL": endpoints.api.url, "COLONY_API_KEY_FILE": endpoints.api.key_file}
    return found


def as_exports(variables: Mapping[str, str]) -> str:
    """Shell text for `eval`."""
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items())
