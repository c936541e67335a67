"""What a worker does: takes messages, has the instance work on them, and answers. Plainly, or in an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import math
import threading
import time
from typing import TYPE_CHECKING, Any

from .._errors import ClosedError, Error, Full, TimeoutError, UsageError
from .._server import Failure, fail_request
from .._waits import with_room
from ._counters import COMPLETED
from ._states import FailureCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._core import Request
    from .._server import Server
    from ._counters import Block
    from ._instance import Instance

_LOOK = 0.1  # seconds after which a worker that has nothing to do looks whether it is to end
LAST_WORK = 4.0  # seconds that tasks have when the worker ends and nobody has said how long it may
_PAUSES = (0.0002, 0.01)  # seconds between two looks for room: the first, and the longest


class Stop:
    """That a worker is to end, and how long its tasks have before they are cancelled. Thread-safe."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.until = math.inf

    def set(self, seconds: float) -> None:
        """Called again, it makes the time shorter, and never longer."""
        self.until = min(self.until, time.monotonic() + seconds)
        self._event.set()

    def is_set(self) -> bool:
        """Whether it is to end."""
        return self._event.is_set()


def serve(server: Server, instance: Instance, block: Block, stop: Stop) -> None:
    """Answers until it is told to stop, or server, queue or broker is closed."""
    while not stop.is_set() and not instance.stopped:
        try:
            request = server.receive(_LOOK)
        except TimeoutError:
            continue
        except ClosedError:
            return
        error = _answer(request, instance, block)
        del request
        if error is not None and instance.failed(error):
            try:
                instance.end()
            except Exception as second:  # noqa: BLE001 - the old instance's
                instance.log_end(second)
            instance.begin()
            instance.renewed(error)


def _answer(request: Request, instance: Instance, block: Block) -> Exception | None:
    taken, counted = block.took(), False
    wait = instance.spec.reply_timeout if instance.streams else 0.0
    try:
        result = instance.call(request)
        if inspect.isgenerator(result):
            waited = _stream(request, result, instance)
            counted = block.ended(taken, COMPLETED)
            waited = waited and request.end()
        else:
            _refuse_awaitable(result)
            payload = instance.output.encode(result)
            del result  # it may be a view of the request
            counted = block.ended(taken, COMPLETED)  # before its caller can see it
            waited = request.reply(payload, instance.spec.reply_timeout)
    except (Exception, asyncio.CancelledError) as raised:  # noqa: BLE001 - it is the caller's
        error = _as_exception(raised)
        block.failed(taken, counted)
        fail_request(request, error, instance.complaint, wait)
        return None if isinstance(error, Failure) else error
    if not waited:
        block.cancelled()
    return None


def _as_exception(raised: BaseException) -> Exception:
    """A handler's CancelledError is an error as any, unless it is the worker that cancels."""
    if isinstance(raised, Exception):
        return raised
    error = RuntimeError(f"its handler raised {raised!r}")
    error.__cause__ = raised
    return error


def _refuse_awaitable(result: Any) -> None:
    if inspect.isawaitable(result) or inspect.isasyncgen(result):
        if inspect.iscoroutine(result):
            result.close()
        raise UsageError(
            f"its handler is no coroutine function, and returned {type(result).__name__}, which is to be awaited: "
            "write it with `async def`, or choose tier='async'"
        )


def _stream(request: Request, values: Any, instance: Instance) -> bool:
    with contextlib.closing(values):
        for value in values:
            if not request.stream(instance.output.encode(value), instance.spec.reply_timeout):
                return False
    return True


class _Room:
    """How many messages may be taken. One task waits for it, for a bounded time, which a semaphore does at a cost."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._waiter: asyncio.Future[None] | None = None

    async def wait(self, timeout: float) -> bool:
        """False: there is none within the time."""
        if not self._left:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = loop.call_later(timeout, self._wake)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
        return self._left > 0

    def take(self) -> None:
        self._left -= 1

    def give_back(self) -> None:
        self._left += 1
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


async def serve_async(server: Server, instance: Instance, block: Block, stop: Stop) -> None:
    """The same by tasks of this loop, ``concurrency`` at once."""
    await _Tasks(server, instance, block, stop).run()


class _Tasks:
    """A worker's messages in work.

    An error after which the object is to be made anew (``fault``) stops the intake: what is in work ends, with the old
    object, and nothing begins before the new one has started. So whatever fails meanwhile is the same fault.
    """

    def __init__(self, server: Server, instance: Instance, block: Block, stop: Stop) -> None:
        self._server = server
        self._instance = instance
        self._block = block
        self._stop = stop
        self._room = _Room(instance.spec.concurrency)
        self._tasks: set[asyncio.Task[None]] = set()
        self._fault: Exception | None = None
        self._crash: list[BaseException] = []
        self._unanswered: list[Request] = []  # kept until the server is closed, which says what becomes of them
        self._cancels = False

    async def run(self) -> None:
        try:
            while self._goes_on and not self._stop.is_set():
                if self._fault is not None:
                    await self._renew(self._fault)
                elif await self._room.wait(_LOOK):
                    try:
                        request = await self._server.receive_async(_LOOK)
                    except TimeoutError:
                        continue
                    except Full:  # the queue's `held` was chosen to be less than `concurrency`
                        await asyncio.sleep(0.001)
                        continue
                    except ClosedError:
                        break
                    if (self._fault is None and self._goes_on) or await self._goes_on_with(request):
                        self._begin(request)
                    del request
            last = time.monotonic() + LAST_WORK
            while self._tasks and time.monotonic() < (self._stop.until if self._stop.is_set() else last):
                await asyncio.wait(self._tasks, timeout=_LOOK)
        finally:
            self._cancels = True
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._crash:
            raise self._crash[0]

    @property
    def _goes_on(self) -> bool:
        return not self._instance.stopped and not self._crash

    async def _goes_on_with(self, request: Request) -> bool:
        """The worker has failed since it waited for this. False: it ends, and has given the request back."""
        try:
            if self._fault is not None:
                await self._renew(self._fault)
        except BaseException:
            with contextlib.suppress(Error):
                request.nack()
            raise
        if self._fault is None and self._goes_on:
            return True
        request.nack()
        return False

    def _begin(self, request: Request) -> None:
        self._room.take()
        task = asyncio.ensure_future(self._work(request, self._block.took()))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, request: Request, taken: int) -> None:
        try:
            error = await self._answer(request, taken)
            if error is not None and self._fault is None and self._instance.failed(error):
                self._fault = error
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - run() raises it, and not the loop
            self._unanswered.append(request)
            self._crash.append(error)
        finally:
            self._room.give_back()

    async def _renew(self, error: Exception) -> None:
        """Makes the object anew, unless the worker is to end before what it has in work has."""
        while self._tasks:
            if self._stop.is_set() or not self._goes_on:
                return
            await asyncio.wait(self._tasks, timeout=_LOOK)
        instance = self._instance
        try:
            await finished(instance.end())
        except Exception as second:  # noqa: BLE001 - the old instance's
            instance.log_end(second)
        await finished(instance.begin())
        self._fault = None
        instance.renewed(error)

    async def _answer(self, request: Request, taken: int) -> Exception | None:
        instance, block, counted = self._instance, self._block, False
        try:
            result = instance.call(request)
            if inspect.isgenerator(result):
                result = _each(result)
            if inspect.isasyncgen(result):
                waited = await _stream_async(request, result, instance)
                counted = block.ended(taken, COMPLETED)
                waited = waited and request.end()
            else:
                payload = instance.output.encode(await finished(result))
                del result
                counted = block.ended(taken, COMPLETED)
                waited = request.reply(payload, instance.spec.reply_timeout)
        except (Exception, asyncio.CancelledError) as raised:
            if self._cancels and isinstance(raised, asyncio.CancelledError):
                self._cancelled(request, taken, counted)
                raise
            error = _as_exception(raised)
            block.failed(taken, counted)
            if instance.streams:
                await _fail_behind_replies(request, error, instance)
            fail_request(request, error, instance.complaint)
            return None if isinstance(error, Failure) else error
        if not waited:
            block.cancelled()
        return None

    def _cancelled(self, request: Request, taken: int, counted: bool) -> None:
        """The worker ends, and does not wait for this message any longer."""
        if self._crash:
            self._unanswered.append(request)
            return
        code, what = FailureCode.TERMINATED, "was terminated"
        if self._instance.stopped:
            code, what = FailureCode.ACTOR_FAILED, "has failed"
        self._block.failed(taken, counted)
        fail_request(
            request,
            Failure(code, f"actor '{self._instance.name}' {what} while it worked on this"),
            self._instance.complaint,
        )


async def _stream_async(request: Request, values: Any, instance: Instance) -> bool:
    async with contextlib.aclosing(values):
        async for value in values:
            payload = instance.output.encode(value)
            if not await _with_room(functools.partial(request.stream, payload, 0), instance):
                return False
    return True


async def _fail_behind_replies(request: Request, error: Exception, instance: Instance) -> None:
    """Waits for the caller to read the reply before. What this cannot tell, ``fail_request()`` does."""
    with contextlib.suppress(Exception):
        code, text = (error.code, error.text) if isinstance(error, Failure) else (1, repr(error))
        await _with_room(functools.partial(request.fail, code, text, 0), instance)


async def _with_room(send: Callable[[], bool], instance: Instance) -> bool:
    """Tries until the caller has read the reply before. Takes no thread: there are few, and all actors share them."""
    return await with_room(lambda _: send(), instance.spec.reply_timeout, instance.name, "stream", _PAUSES)


async def _each(values: Any) -> Any:
    for value in values:
        yield value


async def finished(result: Any) -> Any:
    """What a hook or a handler returns, awaited where it is to be."""
    return await result if inspect.isawaitable(result) else result
