"""Ports are the same at every start, and a taken one is named."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colony.errors import BadInput
from control.stack.ports import BLOCKS, FIRST, LAST, NAMES, USUAL, choose_ports, port_is_free, read_ports, write_ports


def choose(
    configured: dict[str, int] | None = None,
    remembered: dict[str, int] | None = None,
    usual: dict[str, int] | None = None,
    taken: frozenset[int] = frozenset(),
    ours: frozenset[int] = frozenset(),
) -> dict[str, int]:
    return choose_ports(
        configured=configured or {},
        remembered=remembered or {},
        usual=usual or {},
        ours=ours,
        seed=12345,
        is_free=lambda port: port not in taken,
    )


@given(st.frozensets(st.integers(FIRST, LAST), max_size=200), st.frozensets(st.sampled_from(sorted(USUAL.values()))))
def test_every_name_gets_a_free_port_of_its_own(taken: frozenset[int], usual_taken: frozenset[int]) -> None:
    ports = choose(usual=dict(USUAL), taken=taken | usual_taken)
    assert set(ports) == set(NAMES)
    assert len(set(ports.values())) == len(NAMES)
    assert not set(ports.values()) & (taken | usual_taken)


def test_remembered_ports_are_kept_and_beat_the_usual_ones() -> None:
    first = choose()
    assert choose(remembered=first, usual=dict(USUAL)) == first


def test_a_remembered_port_that_another_program_took_is_replaced_alone() -> None:
    first = choose()
    second = choose(remembered=first, taken=frozenset({first["nats"]}))
    assert second["nats"] != first["nats"]
    assert {name: port for name, port in second.items() if name != "nats"} == {
        name: port for name, port in first.items() if name != "nats"
    }


def test_ports_of_living_processes_of_ours_count_as_free() -> None:
    first = choose()
    everything = frozenset(first.values())
    assert choose(remembered=first, taken=everything, ours=everything) == first


def test_a_taken_configured_port_names_service_and_port() -> None:
    with pytest.raises(BadInput, match="Port 4222 for nats"):
        choose(configured={"nats": 4222}, taken=frozenset({4222}))


def test_two_configured_names_cannot_share_a_port() -> None:
    with pytest.raises(BadInput, match="taken"):
        choose(configured={"nats": 4222, "consul": 4222})


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(BadInput, match="kafka"):
        choose(configured={"kafka": 9092})


def test_a_listener_on_loopback_makes_a_port_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not port_is_free(server.getsockname()[1])


def test_ports_survive_writing_and_a_damaged_file_counts_as_none(tmp_path: Path) -> None:
    file = tmp_path / "ports.json"
    assert read_ports(file) == {}
    write_ports(file, {"nats": 4222})
    assert read_ports(file) == {"nats": 4222}
    file.write_text("{", encoding="ascii")
    assert read_ports(file) == {}


@given(st.frozensets(st.integers(FIRST, LAST), max_size=200))
def test_ports_in_a_row_are_free_and_nobody_elses(taken: frozenset[int]) -> None:
    ports = choose(taken=taken)
    for name, size in BLOCKS.items():
        row = set(range(ports[name], ports[name] + size))
        assert not row & taken
        assert not row & {port for other, port in ports.items() if other != name}
    # A name that needs a new port later does not take one of the row.
    again = choose(remembered=ports, taken=taken | {ports["nats"]})
    assert not {again["nats"]} & set(range(ports["gateway-replicas"], ports["gateway-replicas"] + 32))
