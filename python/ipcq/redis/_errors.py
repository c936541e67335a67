"""What this part of the package raises by itself, beside what all of it raises."""

from __future__ import annotations

from typing import Any

from .._errors import Error


class BridgeError(Error, RuntimeError):
    """``ipcq-redis`` did not start, or has ended by itself. The text is what it said.

    Attributes:
        exit_code: Of the program; negative: the number of the signal that has killed it.
    """

    exit_code: int

    def __init__(self, text: str = "", exit_code: int = 1) -> None:
        super().__init__(text)
        self.exit_code = exit_code

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (str(self), self.exit_code))


class TaskDead(Error):
    """The task has no result: it went to the dead letters.

    Attributes:
        id: Of the task.
        reason: Why.
    """

    id: str
    reason: str

    def __init__(self, reason: str = "", id: str = "") -> None:  # noqa: A002 - as the attribute
        super().__init__(f"task {id} went to the dead letters: {reason}")
        self.id = id
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.reason, self.id))
