"""What a worker does: takes messages, has the instance work on them, and answers. Plainly, or in an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from typing import TYPE_CHECKING, Any

from .._errors import ClosedError, Full, TimeoutError
from .._server import Failure, fail_request
from ._counters import COMPLETED
from ._states import FailureCode

if TYPE_CHECKING:
    import threading

    from .._core import Request
    from .._server import Server
    from ._counters import Block
    from ._instance import Instance

_LOOK = 0.1  # seconds after which a worker that has nothing to do looks whether it is to end
_LAST_WORK = 4.0  # seconds that tasks have when the worker is to end


def serve(server: Server, instance: Instance, block: Block, stop: threading.Event) -> None:
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
            payload = instance.output.encode(result)
            del result  # it may be a view of the request
            counted = block.ended(taken, COMPLETED)  # before its caller can see it
            waited = request.reply(payload, instance.spec.reply_timeout)
    except Exception as error:  # noqa: BLE001 - it is the caller's
        block.failed(taken, counted)
        fail_request(request, error, instance.complaint, wait)
        return None if isinstance(error, Failure) else error
    if not waited:
        block.cancelled()
    return None


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


async def serve_async(server: Server, instance: Instance, block: Block, stop: threading.Event) -> None:
    """The same by tasks of this loop, ``concurrency`` at once."""
    room = _Room(instance.spec.concurrency)
    renewing = asyncio.Lock()
    tasks: set[asyncio.Task[None]] = set()
    crash: list[Exception | SystemExit] = []

    async def work(request: Request, taken: int) -> None:
        try:
            error = await _answer_async(request, instance, block, taken)
            if error is not None and instance.failed(error):
                async with renewing:
                    await _renew(instance, error)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - raised below, by the worker, and not by the loop
            crash.append(error)
        finally:
            room.give_back()

    try:
        while not stop.is_set() and not instance.stopped and not crash:
            if not await room.wait(_LOOK):
                continue
            try:
                request = await server.receive_async(_LOOK)
            except TimeoutError:
                continue
            except Full:  # the queue's `held` was chosen to be less than `concurrency`
                await asyncio.sleep(0.001)
                continue
            except ClosedError:
                break
            if instance.stopped or crash:
                request.nack()  # it came while another made the worker end
                break
            room.take()
            task = asyncio.ensure_future(work(request, block.took()))
            del request
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        if tasks:
            await asyncio.wait(tasks, timeout=_LAST_WORK)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if crash:
        raise crash[0]


async def _renew(instance: Instance, error: Exception) -> None:
    try:
        await finished(instance.end())
    except Exception as second:  # noqa: BLE001 - the old instance's
        instance.log_end(second)
    await finished(instance.begin())
    instance.renewed(error)


async def _answer_async(request: Request, instance: Instance, block: Block, taken: int) -> Exception | None:
    counted = False
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
    except asyncio.CancelledError:
        ended = Failure(FailureCode.TERMINATED, f"actor '{instance.name}' was terminated while it worked on this")
        block.failed(taken, counted)
        fail_request(request, ended, instance.complaint)
        raise
    except Exception as error:  # noqa: BLE001 - it is the caller's
        block.failed(taken, counted)
        if instance.streams:  # a thread waits for the caller
            loop, wait = asyncio.get_running_loop(), instance.spec.reply_timeout
            await loop.run_in_executor(None, fail_request, request, error, instance.complaint, wait)
        else:
            fail_request(request, error, instance.complaint)
        return None if isinstance(error, Failure) else error
    if not waited:
        block.cancelled()
    return None


async def _stream_async(request: Request, values: Any, instance: Instance) -> bool:
    loop = asyncio.get_running_loop()
    async with contextlib.aclosing(values):
        async for value in values:
            payload = instance.output.encode(value)
            # A thread waits for the caller.
            if not await loop.run_in_executor(None, request.stream, payload, instance.spec.reply_timeout):
                return False
    return True


async def _each(values: Any) -> Any:
    for value in values:
        yield value


async def finished(result: Any) -> Any:
    """What a hook or a handler returns, awaited where it is to be."""
    return await result if inspect.isawaitable(result) else result
