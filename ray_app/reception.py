"""What arrives on the subjects of a host: pings are answered here, the rest goes to the mail room.

Everything here runs in the read loop of the bus: nothing waits, nothing raises.
"""

from __future__ import annotations

from collections.abc import Callable

from colony.contracts import HostBeat
from colony.errors import NotFound
from colony.messaging.port import Envelope
from ray_app.lease import LeaseKeeper
from ray_app.mail import Mail, MailRoom, Reply
from ray_app.population import Population
from ray_app.questions import HOST_QUEUE, HOST_STATUS, PING, PING_ALL, HostQueue


class Reception:
    """Finds out for whom a message is. A host without a lease hears nothing."""

    def __init__(
        self,
        population: Population,
        mail: MailRoom,
        lease: LeaseKeeper,
        *,
        beat: Callable[[], HostBeat],
        queue: Callable[[], HostQueue],
        heard_of: Callable[[int], None],
    ) -> None:
        self._population = population
        self._mail = mail
        self._lease = lease
        self._beat = beat
        self._queue = queue
        self._heard_of = heard_of

    def shard(self, subject: str, envelope: Envelope, reply: Reply | None) -> None:
        """A message to an agent of an owned shard, or a question about the shard or its host."""
        if not self._lease.valid():
            return
        if envelope.kind == PING_ALL:
            self._answer_shard(subject, envelope, reply)
            return
        if envelope.kind == HOST_STATUS:
            self._answer(reply, self._beat().model_dump(mode="json"))
            return
        if envelope.kind == HOST_QUEUE:
            self._answer(reply, self._queue().model_dump(mode="json"))
            return
        name = subject.rpartition(".")[2]
        cell = self._population.find(name)
        if cell is None or cell.shard.closing:
            self._mail.refuse(reply, NotFound(f"There is no agent {name[:64]} on {self._lease.host}."))
        elif envelope.kind == PING:
            self._answer(reply, {"agent": cell.agent_id})
        else:
            self._mail.accept(Mail(cell, envelope, reply))

    def any_of_type(self, subject: str, envelope: Envelope, reply: Reply | None) -> None:
        """A message to any one agent of a type: the next of ours that is free."""
        if not self._lease.valid():
            return
        name = subject.rpartition(".")[2]
        cell = self._population.choose(self._population.of_type_name(name))
        if cell is None:
            self._mail.refuse(reply, NotFound(f"There is no agent of type {name[:64]} on {self._lease.host}."))
        else:
            self._mail.accept(Mail(cell, _undurable(envelope), reply))

    def topic(self, subject: str, envelope: Envelope, _reply: Reply | None) -> None:
        """A broadcast to all our agents of the types that want the topic. Nobody answers."""
        if not self._lease.valid():
            return
        plain = _undurable(envelope)
        for cell in self._population.of_topic(subject.rpartition(".")[2]):
            if not cell.shard.closing:
                self._mail.accept(Mail(cell, plain, None))

    def _answer(self, reply: Reply | None, payload: dict[str, object]) -> None:
        if reply is not None:
            payload.update(host=self._lease.host, incarnation=self._lease.incarnation)
            reply(Envelope(kind="pong", payload=payload))

    def _answer_shard(self, subject: str, envelope: Envelope, reply: Reply | None) -> None:
        version = envelope.payload.get("version")
        if isinstance(version, int):
            self._heard_of(version)
        number = subject.split(".")[2]
        shard = self._population.shards.get(int(number)) if number.isdigit() else None
        if shard is None or shard.closing:
            self._mail.refuse(reply, NotFound(f"{self._lease.host} does not own shard {number[:8]}."))
        else:
            self._answer(reply, {"shard": shard.number, "agents": list(shard.agents)})


def _undurable(envelope: Envelope) -> Envelope:
    """Durable messages have one addressee; here the id would only make one agent's copy hide the next one's."""
    return envelope.model_copy(update={"message_id": ""}) if envelope.message_id else envelope
