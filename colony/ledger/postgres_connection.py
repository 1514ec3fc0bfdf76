"""Connections to Postgres: a pool, deadlines on every command, and the translation of its errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final

import asyncpg

from colony.config.endpoints import PostgresEndpoint, read_secret
from colony.errors import (
    BadInput,
    ColonyError,
    DeadlineExceeded,
    Fenced,
    NotFound,
    NotPermitted,
    Permanent,
    Unavailable,
)

CONNECT_SECONDS: Final = 5.0
"""Longest wait for a new connection."""

COMMAND_SECONDS: Final = 30.0
"""Longest wait for an ordinary command."""

BULK_SECONDS: Final = 600.0
"""Longest wait for one command of a bulk load."""

_GRACE: Final = 2.0
"""Seconds after which a command is given up from outside: the client's own time-out does not bound its wait for a free
connection, nor its wait for the cancelling of a command by a server that hangs."""

# asyncpg carries no types: its objects are Any inside this module and never leave it.
_client: Any = asyncpg

_SETTINGS: Final = {
    "timezone": "UTC",
    "jit": "off",
    # A frozen process must not keep a transaction, and with it row locks, for ever.
    "idle_in_transaction_session_timeout": "60s",
}

_UNAVAILABLE: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.exceptions.OperatorInterventionError,
    asyncpg.exceptions.InsufficientResourcesError,
    asyncpg.exceptions.TransactionRollbackError,
    asyncpg.exceptions.ObjectInUseError,
    asyncpg.exceptions.LockNotAvailableError,
    asyncpg.exceptions.PostgresIOError,
    asyncpg.exceptions.IdleInTransactionSessionTimeoutError,
)


class _Connection(asyncpg.Connection):
    """A connection that changes no session setting, so it needs no reset (a round trip) on its way to the pool."""

    def get_reset_query(self) -> str:
        return ""


class Database:
    """What the parts of the adapter ask of Postgres; every method raises errors of `colony.errors` only."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def rows(self, query: str, *arguments: Any, timeout: float = COMMAND_SECONDS) -> list[Any]:
        """All rows of a query."""
        with translated():
            async with asyncio.timeout(timeout + _GRACE):
                return await self._pool.fetch(query, *arguments, timeout=timeout)

    async def row(self, query: str, *arguments: Any, timeout: float = COMMAND_SECONDS) -> Any | None:
        """The first row of a query, or None."""
        with translated():
            async with asyncio.timeout(timeout + _GRACE):
                return await self._pool.fetchrow(query, *arguments, timeout=timeout)

    async def value(self, query: str, *arguments: Any, timeout: float = COMMAND_SECONDS) -> Any:
        """The first value of the first row, or None."""
        with translated():
            async with asyncio.timeout(timeout + _GRACE):
                return await self._pool.fetchval(query, *arguments, timeout=timeout)

    async def changed(self, query: str, *arguments: Any, timeout: float = COMMAND_SECONDS) -> int:
        """How many rows a command changed."""
        with translated():
            async with asyncio.timeout(timeout + _GRACE):
                return _count(await self._pool.execute(query, *arguments, timeout=timeout))

    @asynccontextmanager
    async def session(self) -> AsyncGenerator[Session]:
        """One connection for several commands. Errors of the code inside pass as they are."""
        with translated():
            connection = await self._pool.acquire(timeout=COMMAND_SECONDS)
        try:
            yield Session(connection)
        finally:
            with translated():
                async with asyncio.timeout(CONNECT_SECONDS + _GRACE):
                    await self._pool.release(connection, timeout=CONNECT_SECONDS)

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Session]:
        """One connection in one transaction."""
        async with self.session() as session, session.transaction():
            yield session


class Session:
    """Commands on one connection. Made by `Database`."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[None]:
        """Everything inside, or nothing. Errors of the code inside pass as they are."""
        transaction = self._connection.transaction()
        with translated():
            await transaction.start()
        try:
            yield
        except BaseException:
            # A connection that broke has rolled back already; what broke it is the error to tell.
            with suppress(ColonyError), translated():
                await transaction.rollback()
            raise
        with translated():
            await transaction.commit()

    async def row(self, query: str, *arguments: Any, timeout: float = COMMAND_SECONDS) -> Any | None:
        """See `Database.row`."""
        with translated():
            return await self._connection.fetchrow(query, *arguments, timeout=timeout)

    async def value(self, query: str, *arguments: Any, timeout: float = COMMAND_SECONDS) -> Any:
        """See `Database.value`."""
        with translated():
            return await self._connection.fetchval(query, *arguments, timeout=timeout)

    async def changed(self, query: str, *arguments: Any, timeout: float = COMMAND_SECONDS) -> int:
        """See `Database.changed`."""
        with translated():
            return _count(await self._connection.execute(query, *arguments, timeout=timeout))

    async def discard(self, command: str) -> None:
        """Run a command that cleans up; a connection on which it fails is closed instead, which cleans up too."""
        try:
            await self.changed(command)
        except ColonyError:
            self._connection.terminate()

    async def copy(self, table: str, columns: Sequence[str], records: Sequence[tuple[Any, ...]]) -> None:
        """COPY records into a table."""
        with translated():
            await self._connection.copy_records_to_table(table, records=records, columns=columns, timeout=BULK_SECONDS)


def _count(status: str) -> int:
    """The number at the end of a command tag (`UPDATE 3`)."""
    last = status.rpartition(" ")[2]
    return int(last) if last.isdigit() else 0


@contextmanager
def translated() -> Generator[None]:
    """Turn errors of asyncpg and of the network into those of `colony.errors`; cancellation passes untouched."""
    try:
        yield
    except ColonyError:
        raise
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
        raise _translation(error) from error


def _translation(error: Exception) -> ColonyError:
    state = getattr(error, "sqlstate", None)
    if state == "CF001":
        return Fenced("The incarnation has no live lease.")
    if state == "CF002":
        return NotFound("The ledger has no such message.")
    if isinstance(error, TimeoutError | asyncpg.QueryCanceledError):
        return DeadlineExceeded("Postgres did not answer in time.")
    if isinstance(error, asyncpg.exceptions.InvalidAuthorizationSpecificationError):
        return NotPermitted(
            "Postgres refuses the credentials of the ledger.", remedy="Check the user and its password file."
        )
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return NotPermitted(f"Postgres does not permit it: {error}.")
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        return NotFound(f"Postgres has no such database: {error}.", remedy="Create it, then migrate.")
    if isinstance(error, asyncpg.UndefinedTableError | asyncpg.UndefinedFunctionError):
        return Permanent(f"The ledger's schema is incomplete: {error}.", remedy="Migrate the database.")
    if isinstance(error, _UNAVAILABLE):
        return Unavailable(f"Postgres cannot answer now: {error}.")
    if isinstance(error, asyncpg.DataError | asyncpg.exceptions.DataError):
        return BadInput(f"Postgres cannot hold a value: {error}.")
    if isinstance(error, asyncpg.PostgresError):
        return Permanent(f"Postgres refused a command: {error}.")
    return Unavailable(f"The connection to Postgres failed: {error!r}.")


async def connect(endpoint: PostgresEndpoint, *, name: str) -> Any:
    """One connection outside any pool. Raises `Unavailable`, `NotPermitted`, `NotFound`."""
    password = read_secret(endpoint.password_file)
    with translated():
        return await _client.connect(
            **_address(endpoint, password), timeout=CONNECT_SECONDS, server_settings=_named(name)
        )


@asynccontextmanager
async def open_database(endpoint: PostgresEndpoint, *, pool_size: int, name: str) -> AsyncGenerator[Database]:
    """A pool of up to `pool_size` connections; the first is made now. Raises `Unavailable` when Postgres is down."""
    password = read_secret(endpoint.password_file)
    pool = _client.create_pool(
        **_address(endpoint, password),
        min_size=1,
        max_size=pool_size,
        timeout=CONNECT_SECONDS,
        command_timeout=COMMAND_SECONDS,
        max_inactive_connection_lifetime=300.0,
        connection_class=_Connection,
        server_settings=_named(name),
    )
    try:
        with translated():
            await pool
        yield Database(pool)
    finally:
        # Never waits for a command that hangs: whoever closes the ledger has ended its work.
        pool.terminate()


def _address(endpoint: PostgresEndpoint, password: str) -> dict[str, Any]:
    return {
        "host": endpoint.host,
        "port": endpoint.port,
        "database": endpoint.database,
        "user": endpoint.user,
        "password": password,
    }


def _named(name: str) -> dict[str, str]:
    return {**_SETTINGS, "application_name": name}
