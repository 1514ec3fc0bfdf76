"""Search attributes of jobs: what people can look for in Temporal's list of workflows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any, Final, cast

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey, SearchAttributeUpdate
from temporalio.service import RPCError, RPCStatusCode

from colony.errors import Unavailable
from colony.jobs import JobPlan

JOB_KIND: Final = SearchAttributeKey.for_keyword("JobKind")
TENANT: Final = SearchAttributeKey.for_keyword("Tenant")
PRIORITY: Final = SearchAttributeKey.for_int("JobPriority")
DEPLOYMENT: Final = SearchAttributeKey.for_keyword("DeploymentId")
AGENT_TYPES: Final = SearchAttributeKey.for_keyword_list("AgentType")

_TYPES: Final[Mapping[str, IndexedValueType.ValueType]] = {
    JOB_KIND.name: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
    TENANT.name: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
    PRIORITY.name: IndexedValueType.INDEXED_VALUE_TYPE_INT,
    DEPLOYMENT.name: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
    AGENT_TYPES.name: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD_LIST,
}
_RPC: Final = timedelta(seconds=10)


async def registered_attributes(client: Client) -> frozenset[str]:
    """Those of ours that the server knows, after those it lacks were added where it lets us.

    A workflow that sets one the server does not know would hang, so jobs set only these. Raises `Unavailable`.
    """
    try:
        known = await _known(client)
        missing = {name: kind for name, kind in _TYPES.items() if name not in known}
        if missing:
            await client.operator_service.add_search_attributes(
                AddSearchAttributesRequest(search_attributes=missing, namespace=client.namespace), timeout=_RPC
            )
            known = await _known(client)
    except RPCError as error:
        if error.status in _NOT_OURS:
            return frozenset()
        raise Unavailable(f"Temporal does not tell its search attributes: {error.message[:200]}.") from error
    return frozenset(known)


def attributes_of(plan: JobPlan, known: Collection[str], deployment: str) -> dict[str, Any]:
    """The search attributes of a job, those the server knows. Pure."""
    types = sorted({str(step.agent_type) for step in plan.steps if step.agent_type is not None})
    all_of_them: dict[str, Any] = {
        JOB_KIND.name: str(plan.template),
        TENANT.name: plan.tenant,
        PRIORITY.name: plan.priority,
        DEPLOYMENT.name: deployment,
        AGENT_TYPES.name: types,
    }
    return {name: value for name, value in all_of_them.items() if name in known and value}


def updates(attributes: Mapping[str, Any]) -> list[SearchAttributeUpdate[Any]]:
    """The form in which a workflow sets them. Pure."""
    keys = cast("tuple[SearchAttributeKey[Any], ...]", (JOB_KIND, TENANT, PRIORITY, DEPLOYMENT, AGENT_TYPES))
    return [key.value_set(attributes[key.name]) for key in keys if key.name in attributes]


async def _known(client: Client) -> set[str]:
    answer = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace), timeout=_RPC
    )
    return {name for name in _TYPES if answer.custom_attributes.get(name) == _TYPES[name]}


_NOT_OURS: Final = (
    RPCStatusCode.PERMISSION_DENIED,
    RPCStatusCode.UNAUTHENTICATED,
    RPCStatusCode.INVALID_ARGUMENT,
    RPCStatusCode.ALREADY_EXISTS,
    RPCStatusCode.UNIMPLEMENTED,
    RPCStatusCode.RESOURCE_EXHAUSTED,
)
"""Answers of a server that is somebody else's, or full: jobs do without."""
