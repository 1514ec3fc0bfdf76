"""The contract between an agent and the host that runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from pydantic import Field

from colony.clock import Clock
from colony.contracts import Frozen
from colony.ids import AgentId
from colony.llm.port import CacheUse, ChatAnswer, ChatMessage
from colony.memory.contracts import Note, Remembered


class AgentTask(Frozen):
    """One unit of work for one agent. `job` is 0 for work that came as a message."""

    action: str
    payload: Mapping[str, Any]
    parameters: Mapping[str, Any] = Field(default_factory=dict[str, Any])
    """Fixed for the step."""
    job: int = 0
    job_key: str = ""
    """Key of the job: the same for ever, whatever ledger it is in; empty for work that came as a message."""
    step: int = 0
    seq: int = 0
    generation: int = 0
    tier: str = ""
    """Model tier of the step: that of `ctx.llm` unless a call says otherwise; empty for that of the agent's type."""


class AgentResult(Frozen):
    """What came of a task: `value` (JSON, at most 512 KiB) and, for agents with durable state, the new `state`."""

    value: Mapping[str, Any]
    state: Mapping[str, Any] | None = None


class Page(Frozen):
    """What the guarded fetcher brought."""

    url: str
    status: int
    content: bytes
    content_type: str
    seconds: float
    certificate_expires: float | None = None
    """Wall-clock seconds, for https."""


class Model(Protocol):
    """`ctx.llm`: the language model with this agent's name on each call."""

    @property
    def enabled(self) -> bool:
        """Whether the configuration gives agents a model at all: skills then choose their way without it."""
        ...

    async def chat(
        self,
        prompt: str,
        *,
        system: str = "",
        tier: str = "",
        model: str = "",
        max_tokens: int = 256,
        temperature: float = 0.0,
        seed: int | None = None,
        schema: dict[str, Any] | None = None,
        messages: Sequence[ChatMessage] = (),
        cache: CacheUse = "auto",
        priority: int = 3,
    ) -> ChatAnswer:
        """Ask. `messages` are the turns before `prompt`.

        `tier` is that of the step unless given here, and that of the agent's type where the step says none.
        With a JSON `schema` the answer's `data` holds the value; an answer that does not fit is repaired at most
        once, then `WrongAnswer` is raised. A prompt too long for the model raises `PromptTooLong`, it is never cut.
        Other errors as in `colony.llm.port.LanguageModel`.
        """
        ...


class Memory(Protocol):
    """`ctx.memory`: what agents remember beyond a task, found again by what it says.

    A scope is `agent` (mine), `type` (of all agents of my type), `job` (of all agents in this job; goes with it) or
    `shared` (of all agents). All methods raise `NoMemory` where there is none, `BadInput`, what the ledger raises, and
    what `Model.chat` does where a model embeds.
    """

    @property
    def enabled(self) -> bool:
        """Whether the configuration gives agents a memory; a ledger without pgvector shows at the first use only."""
        ...

    @property
    def max_text(self) -> int:
        """Characters of an entry at most; a longer one is refused."""
        ...

    async def add(
        self, text: str, *, scope: str = "job", label: str = "", key: str = "", data: Mapping[str, Any] | None = None
    ) -> str:
        """Remember a text; returns its id. At once, not with the outcome of the task.

        The same text in the same scope is one entry, so that a task that is tried again adds nothing; so is the same
        `key`, whose entry then says what was added last. `label` says what it is, such as `passage`. A full scope
        forgets what `memory.forget` says.
        """
        ...

    async def add_all(self, notes: Sequence[Note], *, scope: str = "job") -> list[str]:
        """As `add`, for at most 256 entries in one transaction; returns their ids in order."""
        ...

    async def search(
        self, query: str, *, scope: str | Sequence[str] = "job", label: str = "", limit: int = 5, least: float = 0.0
    ) -> list[Remembered]:
        """What speaks of `query`, nearest first, with a score of at least `least`; of one label if one is given."""
        ...

    async def forget(self, memory: str, *, scope: str = "job") -> bool:
        """Forget one entry by its id; whether it was there."""
        ...


class AgentContext(Protocol):
    """What an agent may use. Agents have no other way to the outside."""

    @property
    def agent_id(self) -> AgentId:
        """Who I am."""
        ...

    @property
    def clock(self) -> Clock:
        """Time."""
        ...

    @property
    def llm(self) -> Model:
        """The language model."""
        ...

    @property
    def memory(self) -> Memory:
        """What agents remember."""
        ...

    @property
    def state(self) -> Mapping[str, Any]:
        """My durable state as last saved; empty at first."""
        ...

    async def results(self, step: int, first: int, end: int) -> Sequence[Mapping[str, Any]]:
        """Good results of an earlier step of this job, for seqs `first` to `end` - 1, in order."""
        ...

    async def fetch(self, url: str, *, timeout: float = 10.0, max_bytes: int = 5_000_000) -> Page:
        """GET through the guarded fetcher: public addresses only, unless the configuration lists the host.

        Raises `NotPermitted`, `Unavailable`, `DeadlineExceeded`.
        """
        ...

    async def read_file(self, path: str) -> bytes:
        """A file below the configured data roots. Raises `NotPermitted`, `NotFound`."""
        ...

    async def list_files(self, path: str) -> Sequence[str]:
        """Paths of the files in a folder below the data roots, sorted; a file lists itself. Raises as `read_file`."""
        ...

    async def ask(
        self, agent_id: str, kind: str, payload: Mapping[str, Any], *, timeout: float = 10.0
    ) -> Mapping[str, Any]:
        """Ask another agent and wait for its answer."""
        ...

    async def ask_type(
        self, agent_type: str, kind: str, payload: Mapping[str, Any], *, timeout: float = 10.0
    ) -> Mapping[str, Any]:
        """Ask any one agent of a type and wait for its answer. Raises `NoResponders` when there is none."""
        ...

    async def tell(self, agent_id: str, kind: str, payload: Mapping[str, Any]) -> None:
        """Tell another agent, at most once."""
        ...

    async def deliver(self, agent_id: str, kind: str, payload: Mapping[str, Any]) -> str:
        """Tell another agent, exactly once in effect; returns the id of the message."""
        ...

    async def publish(self, topic: str, kind: str, payload: Mapping[str, Any]) -> None:
        """Tell all agents whose class names `topic`, and people who listen to it, each at most once.

        Raises `BadInput` for a topic that is no name.
        """
        ...


@runtime_checkable
class Agent(Protocol):
    """A logical actor. One task or message at a time. The constructor takes nothing and does no I/O.

    Optional methods, used where they exist: `async on_wake(ctx)`, `async on_sleep(ctx)`. A class attribute
    `actions: Mapping[str, str]` (action -> one line of what it does) becomes its tags in the registry; a class
    attribute `stateful = True` asks the host to load the state first and commit after each task. A class attribute
    `results: Mapping[str, Collection[str]]` (action -> names of the fields its results may have, `*` for any) lets a
    template that refers to another field be refused before a job starts; actions that are left out are not judged. A
    class attribute `topics: Collection[str]` names the topics its agents hear of as messages.
    """

    async def handle(self, task: AgentTask, ctx: AgentContext) -> AgentResult:
        """Do the task. Raise a `Transient` error to be tried again, anything else fails the task for good."""
        ...

    async def health(self) -> str:
        """Empty when well; else what is wrong."""
        ...
