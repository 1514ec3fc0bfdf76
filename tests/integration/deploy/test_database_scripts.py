"""The scripts of the compose file against a real Postgres and the real schema tool."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.servers.consul import consul_binary
from tests.servers.postgres import BINARIES, postgres_server

COMPOSE = Path(__file__).parents[3] / "deploy" / "compose"
TEMPORAL = "temporal-1.31.2"
TABLES = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"


def sql_tool() -> Path:
    tool = consul_binary().parents[1] / TEMPORAL / "temporal-sql-tool"
    if not tool.is_file():
        pytest.skip("No temporal-sql-tool: run `make servers`.")
    return tool


async def run(script: str, **environment: str) -> str:
    process = await asyncio.create_subprocess_exec(
        "sh",
        str(COMPOSE / script),
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 100)
    assert process.returncode == 0, output.decode()
    return output.decode()


@pytest.mark.integration
@pytest.mark.timeout(300)
async def test_roles_then_schema_then_schema_again(tmp_path: Path) -> None:
    tool = sql_tool()
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "postgres-colony").write_text("colony-secret-of-this-test")
    (secrets / "postgres-temporal").write_text("temporal-secret-of-this-test\n")
    # The fixture makes the role `colony` itself; here the script has to.
    async with postgres_server(tmp_path, log_statement="all") as server:
        await server.admin("ALTER ROLE colony RENAME TO colony_of_the_fixture")
        admin = (tmp_path / "postgres-admin").read_text()
        place = {"PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGPASSWORD": admin, "SECRETS": str(secrets)}
        said = await run("postgres-roles.sh", PATH=f"{BINARIES}:{os.environ['PATH']}", **place)
        assert "secret-of-this-test" not in said
        assert "secret-of-this-test" not in (tmp_path / "postgres.log").read_text()
        schema = {
            "PATH": f"{tool.parent}:{os.environ['PATH']}",
            "SECRETS": str(secrets),
            "SQL_PLUGIN": "postgres12_pgx",
            "SQL_HOST": "127.0.0.1",
            "SQL_PORT": str(server.port),
            "SQL_USER": "temporal",
        }
        said = await run("temporal-schema.sh", **schema)
        assert "secret-of-this-test" not in said
        made = await server.admin(TABLES, "temporal"), await server.admin(TABLES, "temporal_visibility")
        assert made[0] > 30
        assert made[1] >= 3
        await run("temporal-schema.sh", **schema)
        assert (await server.admin(TABLES, "temporal"), await server.admin(TABLES, "temporal_visibility")) == made
        owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'colony'"
        assert await server.admin(owner) == "colony"
        vectors = "SELECT pg_get_userbyid(extowner) FROM pg_extension WHERE extname = 'vector'"
        assert await server.admin(vectors, "colony") == "postgres"
