"""What ipcq raises: set-up errors, and one exception for each status of a call that has nothing to return."""

from __future__ import annotations

import builtins
import enum
import queue


class Status(enum.IntEnum):
    """Outcome of a call on the data path, as ``ipcq/status.hpp`` has it."""

    OK = 0
    FULL = 1
    EMPTY = 2
    TIMEOUT = 3
    END = 4
    CLOSED = 5
    PEER_DEAD = 6
    INTERRUPTED = 7
    TOO_LARGE = 8
    NOT_HELD = 9
    UNREACHABLE = 10
    CANCELLED = 11
    FAILED = 12
    NO_SERVER = 13
    SERVER_DIED = 14
    EXPIRED = 15
    MALFORMED = 16


class Error(Exception):
    """Root of the family: catch this to catch everything that ipcq raises by itself."""


class UsageError(Error, ValueError):
    """What was asked for cannot work: never (a bad option, use after a fork), or not as things are (a taken name)."""


class NotFoundError(Error, LookupError):
    """There is no broker of that name, or it has no such queue, pool or group; a handler's file is not there."""


class PermissionError(Error, builtins.PermissionError):
    """The system or the broker has refused access."""


class BackendError(Error, RuntimeError):
    """The backend cannot run here (no GPU, no driver, not built in), or its runner has ended."""


class LayoutError(Error):
    """A shared segment is not what it should be: of another release, or damaged."""


class SystemError(Error, OSError):
    """A system call failed, or the broker does not answer in time; ``errno`` says which error."""


class ActorError(Error, RuntimeError):
    """An actor did not start: its class could not be made, or its process has ended. The text says why."""


class StatusError(Error):
    """A call on the data path had nothing to return.

    Attributes:
        status: Why.
        done: Of a batch: how many of its items were done before.
    """

    status: Status
    done: int

    def __init__(self, text: str = "", status: Status = Status.CLOSED, done: int = 0) -> None:
        super().__init__(text)
        self.status = status
        self.done = done

    def __reduce__(self) -> tuple[type[StatusError], tuple[str, Status, int]]:
        return (type(self), (str(self), self.status, self.done))


class Empty(StatusError, queue.Empty):
    """There is nothing to receive now, and the call was not to wait (``timeout=0``)."""


class Full(StatusError, queue.Full):
    """There is no room, and the call or the queue's policy is not to wait; or a consumer holds all that it may."""


class TimeoutError(StatusError, builtins.TimeoutError):
    """The time-out passed."""


class EndOfStream(StatusError):
    """The stream has ended: no producer will publish, and no message is left for the group."""


class ClosedError(StatusError):
    """The endpoint, the queue or the broker was closed."""


class PeerDeadError(ClosedError):
    """The broker has died: connect to its successor."""


class InterruptedError(StatusError, builtins.InterruptedError):
    """The call would have had to wait, between ``Session.interrupt()`` and ``resume()``."""


class MalformedError(StatusError):
    """What came is no value of the endpoint's type."""

    def __init__(self, text: str = "", status: Status = Status.MALFORMED, done: int = 0) -> None:
        super().__init__(text, status, done)


class CallError(StatusError):
    """A call has ended without a reply."""


class CallFailed(CallError):
    """The server says that the request failed.

    Attributes:
        code: The server's code; 1 where its function raised an exception.
        text: The server's words.
    """

    code: int
    text: str

    @classmethod
    def of(cls, where: str, code: int, text: str) -> CallFailed:
        """Makes one; the extension module raises it."""
        error = cls(f"{where}: the server says that the request failed, code {code}: {text}", Status.FAILED)
        error.code, error.text = code, text
        return error

    def __reduce__(self) -> tuple[type[StatusError], tuple[str, Status, int], dict[str, object]]:  # type: ignore[override]
        return (type(self), (str(self), self.status, self.done), {"code": self.code, "text": self.text})


class ServerDied(CallError):
    """The call's server has died, has closed, or has let the request go without the last reply."""


class NoServer(CallError):
    """No server is attached, and the client was opened with ``needs_server=True``."""


class Expired(CallError, builtins.TimeoutError):
    """The call's own time-out has passed; it is over."""


class Cancelled(CallError):
    """The call was cancelled."""


_KINDS: dict[Status, type[StatusError]] = {
    Status.EMPTY: Empty,
    Status.FULL: Full,
    Status.TIMEOUT: TimeoutError,
    Status.END: EndOfStream,
    Status.CLOSED: ClosedError,
    Status.PEER_DEAD: PeerDeadError,
    Status.INTERRUPTED: InterruptedError,
    Status.CANCELLED: Cancelled,
    Status.MALFORMED: MalformedError,
    Status.NO_SERVER: NoServer,
    Status.SERVER_DIED: ServerDied,
    Status.EXPIRED: Expired,
}

_SENDING = {
    "send",
    "try_send",
    "send_many",
    "send_array",
    "loan",
    "publish",
    "forward",
    "write",
    "set_metadata",
    "call",
}


def _reason(status: Status, call: str, timeout: float | None) -> str:
    sends = call in _SENDING
    reasons = {
        Status.EMPTY: "there is nothing now; wait for it by a time-out",
        Status.FULL: "as many calls as the queue lets a client have (`calls`) are under way, or there is no room now"
        if call == "call"
        else "there is no room now: its consumers lag, or hold what they have received"
        if sends
        else "this consumer holds as many messages as the queue lets it (`held`); release some first",
        Status.TIMEOUT: f"no room within {timeout} s: its consumers lag, or hold what they have received"
        if sends
        else f"nothing came within {timeout} s",
        Status.END: "there is no further reply"
        if call == "reply"
        else "the stream has ended: all producers are closed, and no message is left",
        Status.CLOSED: "the endpoint is closed, the queue was removed, or the broker has stopped",
        Status.PEER_DEAD: "the broker has died; connect to its successor",
        Status.INTERRUPTED: "the session was interrupted; Session.resume() lets its calls wait again",
        Status.TOO_LARGE: "it exceeds what one message, or the buffer, has room for; Producer.max_bytes says how much",
        Status.NOT_HELD: "it was already published, released, given back or forwarded",
        Status.CANCELLED: "the call was cancelled",
        Status.NO_SERVER: "no server is attached to the queue, and this call was not to wait for one",
        Status.SERVER_DIED: "its server has died, has closed, or has let the request go without an answer",
        Status.EXPIRED: f"no answer within the call's {timeout} s",
        Status.MALFORMED: "what came is no value of the type",
        Status.UNREACHABLE: "the payload lies in device memory alone, where the CPU can neither read nor write it; "
        "create the queue with mirror='full' and host_readable=True, or use cuda=True",
    }
    return reasons.get(status, status.name.lower().replace("_", " "))


def status_error(status: int, where: str, call: str, timeout: float | None, done: int, reason: str = "") -> StatusError:
    """Makes the exception of a status; the extension module raises it. ``reason``: said instead of the usual."""
    kind = Status(status)
    count = f" after {done} of them" if done else ""
    text = f"{where}: {call}{count}: {reason or _reason(kind, call, timeout)}"
    return _KINDS.get(kind, StatusError)(text, kind, done)


def timed_out(queue: str, call: str, timeout: float | None) -> StatusError:
    """Of a call whose time has passed in an event loop."""
    return status_error(Status.TIMEOUT, f"queue '{queue}'", call, timeout, 0)


def no_pickle(kind: str) -> TypeError:
    """Why an endpoint or session cannot be passed to another process."""
    return TypeError(f"a {kind} belongs to its process: pass names, and open it in the other process by ipcq.connect()")
