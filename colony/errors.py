"""The one family of errors.

Every error is `Transient` (the same call may succeed later) or `Permanent` (it never will). Adapters translate
what their client library raises at their edge; the workflow is the only one that acts on the split.
"""

from __future__ import annotations


class ColonyError(Exception):
    """An error of Colony: what is wrong, and what to do next.

    `remedy` is one sentence for a person; it may be empty where the message already says it.
    """

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".rstrip()


class Transient(ColonyError):
    """The same call may succeed later."""


class Permanent(ColonyError):
    """The same call will never succeed."""


class BadInput(Permanent):
    """Something handed in is wrong: the message names the file or field."""


class ConfigInvalid(BadInput):
    """The configuration is wrong: the message names file, line and field."""


class NotFound(Permanent):
    """The thing named does not exist."""


class AlreadyExists(Permanent):
    """The name is taken, or the same key was used for something else."""


class NotPermitted(Permanent):
    """The credentials at hand do not allow this."""


class Unavailable(Transient):
    """A server does not answer, or answers that it cannot now."""


class Unreachable(Unavailable):
    """A server takes no connection: it never saw the call, which may go elsewhere at no cost."""


class DeadlineExceeded(Transient):
    """No answer came before the deadline. The work may have been done: the state is unknown."""


class Overloaded(Transient):
    """Refused to protect what is under way: come back later. Never counts as an attempt of a task.

    `retry_after` is how many seconds later that is; None where nobody knows.
    """

    def __init__(self, message: str, *, remedy: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.retry_after = retry_after


class NoMemory(Permanent):
    """Agents have no memory here: it is switched off, or the Postgres of the ledger has no pgvector."""


class LostShard(Transient):
    """This host does not own the agent's shard (any more). Never counts as an attempt of a task."""


class Fenced(LostShard):
    """A write was refused because a newer epoch owns the shard: the writer must drop its memory."""


class NoResponders(Transient):
    """Nobody listens on the address now."""


class TooLarge(NotPermitted):
    """A page has more bytes than are allowed."""


class TooManyRedirects(NotPermitted):
    """A page sends from one address to the next for longer than is allowed."""


class CertificateInvalid(Unavailable):
    """The certificate of a server is not valid: run out, for another name, or signed by nobody known."""


class WebhookAway(Unavailable):
    """A webhook does not answer, or answers that it cannot now."""


class WebhookRefused(NotPermitted):
    """A webhook refuses what it is sent, or may not be called."""


class Unreadable(Permanent):
    """Something cannot be read: its key is not at hand, it was changed, or another build wrote it."""


class Cancelled(Permanent):
    """The job was cancelled."""


class Rejected(Permanent):
    """A person, or the time-out of an approval, said no."""


class HostCrashed(Permanent):
    """The task was in flight three times when its host died; it ran alone the last time."""


class TaskTimeout(Permanent):
    """The task ran into its own time limit."""


class ModelRefused(Permanent):
    """The model backend refused the request (a 4xx): prompt too long, unknown model, wrong parameter."""


class PromptTooLong(ModelRefused):
    """The prompt does not fit the context of any model it could go to; nothing of it was cut."""


class BudgetSpent(Permanent):
    """The job has used up the tokens it was given."""


class WrongAnswer(Permanent):
    """The model's answer does not fit the schema asked for, also after it was shown what is wrong.

    `text` is what it said first.
    """

    def __init__(self, message: str, *, remedy: str = "", text: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.text = text


class TruncatedAnswer(Permanent):
    """The model backend cut the prompt or the answer and said so only in its counters."""


def by_name(name: str) -> type[ColonyError]:
    """The error class called `name`; `Permanent` if there is none (an error of a user's own code)."""
    found = _CLASSES.get(name)
    return Permanent if found is None else found


def _classes() -> dict[str, type[ColonyError]]:
    found: dict[str, type[ColonyError]] = {"ColonyError": ColonyError}
    waiting: list[type[ColonyError]] = [ColonyError]
    while waiting:
        for child in waiting.pop().__subclasses__():
            found[child.__name__] = child
            waiting.append(child)
    return found


_CLASSES = _classes()
