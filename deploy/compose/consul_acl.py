"""One-shot job: the policies and tokens of our roles in Consul. May run again at any time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from colony.config.endpoints import home_from_environment, read_endpoints, read_secret
from colony.registry.consul_server import POLICIES, bootstrap_acl

SECRETS: Final = Path("/run/secrets")


async def main() -> None:
    """Read the tokens from their files and make them known."""
    registry = read_endpoints(home_from_environment()).registry
    tokens = {role: read_secret(SECRETS / f"consul-{role}") for role in POLICIES}
    async with asyncio.timeout(60):
        await bootstrap_acl(registry.address, read_secret(SECRETS / "consul-management"), tokens)


if __name__ == "__main__":
    asyncio.run(main())
