"""One-shot job: brings the schema of the ledger up to date. May run again at any time."""

from __future__ import annotations

import asyncio
import sys

from colony.config.endpoints import home_from_environment, read_endpoints
from colony.ledger.migrate import migrate


async def main() -> None:
    """Apply what is missing, and name it."""
    applied = await migrate(read_endpoints(home_from_environment()).postgres)
    sys.stdout.write("".join(f"applied {name}\n" for name in applied) or "the schema is up to date\n")


if __name__ == "__main__":
    asyncio.run(main())
