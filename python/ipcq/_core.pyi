"""libipcq for Python. Use the package ipcq, which stands on it."""

from collections.abc import Iterable, Sequence
import enum
from types import TracebackType
from typing import Any, overload

from typing_extensions import CapsuleType, Self

import ipcq
from ipcq._buffer_like import BufferLike



class GroupOptions:
    def __init__(self, name: str = 'default', policy: str = 'must', paused: bool = False) -> None: ...

class PoolOptions:
    def __init__(self) -> None: ...

    @property
    def slots(self) -> int: ...

    @slots.setter
    def slots(self, arg: int, /) -> None: ...

    @property
    def size(self) -> int: ...

    @size.setter
    def size(self, arg: int, /) -> None: ...

    @property
    def backend(self) -> str: ...

    @backend.setter
    def backend(self, arg: str, /) -> None: ...

    @property
    def device(self) -> int: ...

    @device.setter
    def device(self, arg: int, /) -> None: ...

    @property
    def metadata(self) -> int: ...

    @metadata.setter
    def metadata(self, arg: int, /) -> None: ...

    @property
    def mirror(self) -> str: ...

    @mirror.setter
    def mirror(self, arg: str, /) -> None: ...

class QueueOptions:
    def __init__(self) -> None: ...

    @property
    def slots(self) -> int: ...

    @slots.setter
    def slots(self, arg: int, /) -> None: ...

    @property
    def size(self) -> int: ...

    @size.setter
    def size(self, arg: int, /) -> None: ...

    @property
    def pool(self) -> str: ...

    @pool.setter
    def pool(self, arg: str, /) -> None: ...

    @property
    def lines(self) -> int: ...

    @lines.setter
    def lines(self, arg: int, /) -> None: ...

    @property
    def line(self) -> int: ...

    @line.setter
    def line(self, arg: int, /) -> None: ...

    @property
    def handler(self) -> str: ...

    @handler.setter
    def handler(self, arg: str, /) -> None: ...

    @property
    def defines(self) -> list[str]: ...

    @defines.setter
    def defines(self, arg: Sequence[str], /) -> None: ...

    @property
    def includes(self) -> list[str]: ...

    @includes.setter
    def includes(self, arg: Sequence[str], /) -> None: ...

    @property
    def quick_start(self) -> bool: ...

    @quick_start.setter
    def quick_start(self, arg: bool, /) -> None: ...

    @property
    def state_bytes(self) -> int: ...

    @state_bytes.setter
    def state_bytes(self, arg: int, /) -> None: ...

    @property
    def state_file(self) -> str: ...

    @state_file.setter
    def state_file(self, arg: str, /) -> None: ...

    @property
    def isolate(self) -> bool: ...

    @isolate.setter
    def isolate(self, arg: bool, /) -> None: ...

    @property
    def backend(self) -> str: ...

    @backend.setter
    def backend(self, arg: str, /) -> None: ...

    @property
    def device(self) -> int: ...

    @device.setter
    def device(self, arg: int, /) -> None: ...

    @property
    def host_readable(self) -> bool: ...

    @host_readable.setter
    def host_readable(self, arg: bool, /) -> None: ...

    @property
    def threads(self) -> int: ...

    @threads.setter
    def threads(self, arg: int, /) -> None: ...

    @property
    def groups(self) -> list[GroupOptions]: ...

    @groups.setter
    def groups(self, arg: Sequence[GroupOptions], /) -> None: ...

    @property
    def paused(self) -> bool: ...

    @paused.setter
    def paused(self, arg: bool, /) -> None: ...

    @property
    def endpoints(self) -> int: ...

    @endpoints.setter
    def endpoints(self, arg: int, /) -> None: ...

    @property
    def held(self) -> int: ...

    @held.setter
    def held(self, arg: int, /) -> None: ...

    @property
    def calls(self) -> int: ...

    @calls.setter
    def calls(self, arg: int, /) -> None: ...

    @property
    def metadata(self) -> int: ...

    @metadata.setter
    def metadata(self, arg: int, /) -> None: ...

    @property
    def schema(self) -> str: ...

    @schema.setter
    def schema(self, arg: str, /) -> None: ...

    @property
    def result_schema(self) -> str: ...

    @result_schema.setter
    def result_schema(self, arg: str, /) -> None: ...

    @property
    def handler_deadline(self) -> float: ...

    @handler_deadline.setter
    def handler_deadline(self, arg: float, /) -> None: ...

    @property
    def wait(self) -> str: ...

    @wait.setter
    def wait(self, arg: str, /) -> None: ...

    @property
    def mirror(self) -> str: ...

    @mirror.setter
    def mirror(self, arg: str, /) -> None: ...

    @property
    def batch(self) -> str: ...

    @batch.setter
    def batch(self, arg: str, /) -> None: ...

    @property
    def backpressure(self) -> str: ...

    @backpressure.setter
    def backpressure(self, arg: str, /) -> None: ...

    @property
    def executor(self) -> str: ...

    @executor.setter
    def executor(self, arg: str, /) -> None: ...

    @property
    def on_server_death(self) -> str: ...

    @on_server_death.setter
    def on_server_death(self, arg: str, /) -> None: ...

class MemoryNeeds:
    """Bytes of memory that a pool or a queue takes."""

    @property
    def shared_memory(self) -> int:
        """In /dev/shm."""

    @property
    def pinned(self) -> int:
        """Of these, pinned for the GPU."""

    @property
    def device_memory(self) -> int:
        """On the GPU."""

@overload
def memory_needs(options: PoolOptions) -> MemoryNeeds: ...

@overload
def memory_needs(options: QueueOptions) -> MemoryNeeds: ...

class Broker:
    """An embedded broker. See ipcq.Broker."""

    def __init__(self, name: str = '', *, group: str = '', admin_group: str = '', max_queues: int = 0, max_memory: int = 0) -> None: ...

    def _create(self, queue: str, options: QueueOptions) -> None: ...

    def _create_pool(self, pool: str, options: PoolOptions) -> None: ...

    def remove(self, queue: str, *, at_once: bool = False) -> int:
        """
        Removes a queue, with its own pool, and returns how many messages were left. Unless at_once, it is refused
        while anybody has it open or messages are left. Raises NotFoundError, UsageError (who uses it).
        """

    def remove_pool(self, pool: str) -> None:
        """Removes a pool that no queue uses. Raises NotFoundError, UsageError."""

    def pause(self, queue: str, group: str = '') -> None:
        """
        Pauses a queue, or one of its groups: no message leaves it. Raises NotFoundError, BackendError.
        """

    def resume(self, queue: str, group: str = '') -> None:
        """
        Lets a paused queue or group, or a drained queue, go on. Raises NotFoundError.
        """

    def drain(self, queue: str, timeout: float | None = None) -> int:
        """
        Closes the queue's intake and waits until all groups have taken and released everything. Returns how many
        messages are left. Raises NotFoundError, UsageError (it was resumed meanwhile).
        """

    def end_of_stream(self, queue: str) -> None:
        """
        Declares that no further producer will open, so that the stream ends although a producer has died.
        Raises NotFoundError.
        """

    def save_state(self, queue: str, file: str) -> None:
        """Copies the state of the queue's handler to a new file."""

    def load_state(self, queue: str, file: str) -> None:
        """Sets the state of the queue's handler to a file's contents."""

    def replace_handler(self, queue: str, handler: str) -> None:
        """
        Lets another handler's file go on, between two messages. The state stays.
        """

    def stop(self, drain_for: float | None = 0.0) -> int:
        """
        Closes the intake of every queue, waits up to drain_for seconds until groups with members have taken
        everything, and removes every name. Returns the number of messages left. A second call returns the same.
        """

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        pass

    def stats(self) -> ipcq._stats.BrokerStats:
        """Counters of this instant."""

    def dump(self, queue: str) -> str:
        """State of one queue as text for people."""

    @property
    def socket_path(self) -> str:
        """Path of the control socket."""

def fetch_stats(broker: str = '', wait_for: float | None = 0.0) -> ipcq._stats.BrokerStats: ...

def fetch_dump(queue: str, broker: str = '') -> str: ...

def end_of_stream(queue: str, broker: str = '') -> None: ...

def create_queue(queue: str, options: QueueOptions, broker: str = '') -> None: ...

def create_pool(pool: str, options: PoolOptions, broker: str = '') -> None: ...

def remove_queue(queue: str, at_once: bool = False, broker: str = '') -> int: ...

def remove_pool(pool: str, broker: str = '') -> None: ...

def pause(queue: str, group: str = '', broker: str = '') -> None: ...

def resume(queue: str, group: str = '', broker: str = '') -> None: ...

def drain(queue: str, timeout: float | None = None, broker: str = '') -> int: ...

def run_directory() -> str: ...

def list_brokers() -> list[tuple[str, str, bool, int]]: ...

class Session:
    """A process' connection to one broker. See ipcq.Session."""

    def __init__(self, broker: str = '', wait_for: float | None = 0.0) -> None: ...

    def close(self) -> None:
        """
        Closes its producers (their streams end), consumers, clients and servers, and detaches from the broker once
        no message or loan of theirs is held any more. Ends the waits of other threads. Idempotent.
        """

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        """
        close(); where an exception leaves the block, its producers are broken off: their streams do not end.
        """

    def interrupt(self) -> None:
        """
        Ends every wait of this session's endpoints, now and until resume(): a call that would have to wait raises
        InterruptedError.
        """

    def resume(self) -> None:
        """Lets calls wait again."""

    @property
    def connected(self) -> bool:
        """
        False once the broker has closed the connection or died, or the session was closed.
        """

    @property
    def closed(self) -> bool:
        """Whether close() was called."""

class Message:
    """
    A received message, which no other member of the consumer's group gets while it is held.

    memoryview(m), numpy.asarray(m) and bytes(m) show its payload, without a copy but for the
    last; an array that was sent with its shape and element type is shown so. Views are
    read-only and keep the message: release() raises BufferError while one is alive.
    As a context manager it is released at the end, or given back by an exception. A message
    that Python drops is released. Usable from any thread.
    """

    def __dlpack__(self, *, stream: int | None = None, max_version: tuple[int, int] | None = None, dl_device: tuple[int, int] | None = None, copy: bool | None = None) -> CapsuleType: ...

    def __dlpack_device__(self) -> tuple[int, int]: ...

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        """
        Releases the message; gives it back where an exception leaves the block.
        """

    def release(self) -> None:
        """
        Releases the message: its slot becomes free once every group has released it. Does not wait.
        Raises BufferError: views of it are alive, and it stays held. UsageError: it is held no more. Without effect
        after detach().
        """

    def nack(self) -> None:
        """
        Gives the message back: the next receive of any member of the group takes it, before newer ones.
        Does not wait. Raises as release().
        """

    def detach(self) -> Self:
        """
        From now on the message is released with its last view, not at the end of a `with` or of a loop's step.
        Returns the message itself: `array = numpy.asarray(m.detach())` lives as long as you keep it, and the slot
        is in use that long.
        """

    def tobytes(self) -> bytes:
        """A copy of the payload."""

    def __bytes__(self) -> bytes: ...

    def __len__(self) -> int: ...

    @property
    def held(self) -> bool:
        """Whether it is still held: views of it can be made."""

    @property
    def nbytes(self) -> int:
        """Size of the payload in bytes."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array that was sent, in elements; of bytes, their number."""

    @property
    def dtype(self) -> str:
        """Name of the elements' type, such as 'float32'; 'uint8' of bytes."""

    @property
    def metadata(self) -> bytes:
        """
        A copy of what the producer has put beside the payload; empty: nothing.
        """

    @property
    def sequence(self) -> int:
        """Number of this message among those of its producer, from 0."""

    @property
    def producer(self) -> int:
        """Id of the producer, unique while it is attached."""

    @property
    def ticket(self) -> int:
        """
        Place in the queue's order: grows by one a message. Of a record that of its batch.
        """

    @property
    def record(self) -> int:
        """
        Place of this record in its batch, from 0; 0 of a message that is no record.
        """

    @property
    def redeliveries(self) -> int:
        """How often the message was delivered before; 0 at the first delivery."""

    @property
    def published_at_ns(self) -> int:
        """
        When it was published, in ns of time.monotonic_ns(); 0 of a message that needed no slot.
        """

    @property
    def processed(self) -> bool:
        """False if the queue's handler refused the payload, or failed on it."""

    @property
    def failed(self) -> bool:
        """
        True if the queue's handler failed on the payload, which it may have changed in part.
        """

    @property
    def failure(self) -> int:
        """
        The code with which the handler failed, 1 to 255; 0: it threw or died, or has not failed.
        """

    def __repr__(self) -> str: ...

    def __buffer__(self, flags: int, /) -> memoryview: ...

class MessageIterator:
    """Iterates over a consumer's messages."""

    def __iter__(self) -> Self: ...

    def __next__(self) -> Message: ...

class LoopStep:
    """For iterators in Python: what has the message of a loop's step."""

    def __init__(self) -> None: ...

    def end(self) -> None:
        """Before the next is asked for."""

    def begin(self, message: Message) -> None: ...

class Consumer:
    """Receives from one queue as a member of a group. See ipcq.Consumer."""

    def __init__(self, session: Session, queue: str, *, group: str = 'default', wait: str = 'hybrid', wait_for: float | None = 0.0, until_end: bool = True, lossy: bool = False, schema: str = '', cuda: bool = False) -> None: ...

    def receive(self, timeout: float | None = None) -> Message:
        """
        Takes the group's next message: the oldest that was given back, else the oldest not yet taken.

        timeout: seconds; None waits without limit, 0 not at all. Other threads run meanwhile, and signals are
        handled within 0.1 s. Raises Empty (timeout=0), TimeoutError, EndOfStream, ClosedError, PeerDeadError,
        InterruptedError; Full: this consumer holds as many messages as the queue's `held` allows.
        """

    def try_receive(self) -> Message | None:
        """The next message if there is one now, else None. Raises as receive()."""

    def _receive_within(self, timeout: float) -> Message | None: ...

    def receive_many(self, limit: int = 64, timeout: float | None = None) -> list[Message]:
        """
        Takes up to `limit` messages (256 at most) that are there now, and waits only for the first.
        Raises as receive().
        """

    def receive_bytes(self, timeout: float | None = None) -> bytes:
        """
        A copy of the next message's payload, with which the queue is done: nothing is to be released.
        The fastest way for small messages. Raises as receive(), and StatusError (unreachable): the payload is in
        device memory alone.
        """

    def receive_records(self, limit: int = 256, timeout: float | None = None) -> list[bytes]:
        """
        Copies of up to `limit` payloads (256 at most) that are there now, with which the queue is done. Waits only
        for the first. Of a queue with batch='records' each record is one. Raises as receive_bytes().
        """

    def receive_into(self, buffer: BufferLike, timeout: float | None = None) -> int:
        """
        Copies the next payload to the beginning of a writable buffer and returns its length in bytes. What the
        buffer has is unspecified unless a message came. Raises as receive_bytes(), and StatusError (too_large): the
        payload exceeds the buffer, and is the group's next as before.
        """

    def fileno(self) -> int:
        """
        A descriptor for event loops, readable while receive() may have something to return. It stays readable
        until a call has found nothing: call try_receive() until it returns None. It belongs to the consumer.
        Raises UsageError (closed), SystemError (Linux before 5.16).
        """

    def __iter__(self) -> MessageIterator:
        """
        The messages until the end of the stream. Each is released when the next is asked for (with its last view,
        where one is alive), and given back where an exception ends the loop. Raises ClosedError, PeerDeadError,
        InterruptedError, Full.
        """

    def close(self) -> None:
        """
        Leaves the group, and gives back the messages still held. Ends the waits of other threads. Waits for the
        broker's answer, 10 s at most. Idempotent.
        """

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        pass

    @property
    def closed(self) -> bool:
        """Whether it was closed, by itself or with its session."""

    @property
    def queue(self) -> str:
        """Name of its queue."""

    @property
    def schema(self) -> str:
        """The type of what it receives, as text; empty: any bytes."""

    @property
    def metadata_for_values(self) -> int:
        """
        Of the bytes that a message can have beside its payload, what is there for typed values.
        """

    @property
    def metadata_bytes(self) -> int:
        """Most bytes that a message in a slot can have beside its payload."""

class Loan:
    """
    A slot on loan, to be written in place: numpy.asarray(slot) and memoryview(slot) show it,
    writable, with contents that are unspecified. publish() makes it a message. A loan that is not
    published goes back to the pool when its `with` ends, or when Python drops it.
    """

    def __dlpack__(self, *, stream: int | None = None, max_version: tuple[int, int] | None = None, dl_device: tuple[int, int] | None = None, copy: bool | None = None) -> CapsuleType: ...

    def __dlpack_device__(self) -> tuple[int, int]: ...

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any: ...

    def publish(self, length: int | None = None, timeout: float | None = None) -> None:
        """
        Publishes the first `length` bytes (None: the array, or the whole slot) as one message, which takes its place
        in the queue's order now. Waits for a free line as Producer.send(). Raises as that, and the loan stays;
        BufferError: views of it are alive; UsageError: it was published.
        """

    def write(self, data: BufferLike, offset: int = 0) -> None:
        """
        Copies a buffer's bytes into the slot, from `offset` on. Raises StatusError (too_large).
        """

    def set_metadata(self, data: BufferLike) -> None:
        """
        Gives the message a copy of these bytes beside its payload. The last call counts. Raises StatusError
        (too_large): more than the queue's `metadata`.
        """

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        """Gives the slot back if it was not published."""

    def __len__(self) -> int: ...

    @property
    def held(self) -> bool:
        """Whether it can be written and published."""

    @property
    def nbytes(self) -> int:
        """Capacity of the slot in bytes."""

    def __repr__(self) -> str: ...

    def __buffer__(self, flags: int, /) -> memoryview: ...

class Producer:
    """Publishes messages to one queue. See ipcq.Producer."""

    def __init__(self, session: Session, queue: str, *, wait: str = 'hybrid', wait_for: float | None = 0.0, schema: str = '', cuda: bool = False) -> None: ...

    def send(self, data: BufferLike, timeout: float | None = None) -> None:
        """
        Sends a copy of a buffer's bytes (bytes, bytearray, memoryview, array) as one message.

        Waits for room as the queue's backpressure says; timeout in seconds, None: no limit, 0: not at all. Up to
        inline_bytes need no slot. Raises Full (timeout=0, or backpressure='reject'), TimeoutError, StatusError
        (too_large, unreachable), ClosedError, PeerDeadError, InterruptedError.
        """

    def try_send(self, data: BufferLike) -> bool:
        """Sends if there is room now. False: there is none. Raises as send()."""

    def send_many(self, batch: Iterable[BufferLike] | BufferLike, timeout: float | None = None) -> int:
        """
        Sends the payloads of a list, or the rows of an array, in order, and returns how many.

        With batch='records' they travel together, many in a slot. `timeout` is for all of them. Raises as send();
        `done` of the exception says how many were sent before.
        """

    def send_array(self, array: BufferLike, timeout: float | None = None) -> None:
        """
        Sends an array with its shape and element type, by a copy of its elements (one after the other, the last
        dimension's first; strides may be any). numpy.asarray(message) has both again. They travel beside the
        payload, 128 bytes of the queue's `metadata`, or before it in a queue of schema='tensor'. Raises as send(),
        UsageError (the queue has room for neither), ValueError (an element type without a name in DLPack).
        """

    def loan(self, timeout: float | None = None, *, shape: Sequence[int] | None = None, dtype: object = 'uint8') -> Loan:
        """
        Borrows a slot that you write in place; numpy.asarray(slot) shows it.

        shape, dtype: the slot is an array, and both travel with it as by send_array(). Else it is bytes. Waits for
        a slot as send(). Raises as send(), and StatusError (too_large): the queue has no slots, or the array does
        not fit into one.
        """

    def forward(self, message: Message, timeout: float | None = None) -> None:
        """
        Publishes a received message to this queue and releases it in its own, without a copy if both queues share
        a pool. Raises as send(), and it stays held then; BufferError: views of it are alive.
        """

    def close(self) -> None:
        """
        Ends this producer's stream: consumers that have received everything come to its end. Waits for the broker's
        answer, 10 s at most. Idempotent. A producer that is never closed has not ended its stream.
        """

    def break_off(self) -> None:
        """
        Closes without ending the stream, as its death would: consumers wait for another producer.
        """

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        """
        close(); break_off() where an exception leaves the block, but for sys.exit() without an error.
        """

    @property
    def closed(self) -> bool:
        """Whether it was closed, by itself or with its session."""

    @property
    def queue(self) -> str:
        """Name of its queue."""

    @property
    def id(self) -> int:
        """As Message.producer shows it; 0 once it is closed."""

    @property
    def max_bytes(self) -> int:
        """Largest message in bytes."""

    @property
    def slot_bytes(self) -> int:
        """Capacity of a slot in bytes; 0: the queue has none."""

    @property
    def inline_bytes(self) -> int:
        """Largest message in bytes that needs no slot."""

    @property
    def metadata_bytes(self) -> int:
        """Most bytes that a message in a slot can have beside its payload."""

    @property
    def schema(self) -> str:
        """The type of the queue's messages, as text; empty: any bytes."""

class Client:
    """Calls the servers of one queue. See ipcq.Client."""

    def __init__(self, session: Session, queue: str, *, wait: str = 'hybrid', wait_for: float | None = 0.0, reply_bytes: int = 0, needs_server: bool = False, schema: str = '', result_schema: str = '') -> None: ...

    def loan(self, timeout: float | None = None) -> Loan:
        """
        Borrows a slot for a request that you write in place; call(loan) sends it. Raises as Producer.loan().
        """

    def forward(self, request: Request, timeout: float | None = None) -> bool:
        """
        Passes a received request on to this client's queue: whoever takes it there answers in its server's place.
        False: nobody waits for an answer any more. Raises as Producer.send(), and it stays open then; BufferError:
        views of it are alive.
        """

    def wait_any(self, timeout: float | None = None) -> int | None:
        """
        The id of a call that has news: receive() of it would return something. None: no call is under way that could,
        or none has now (timeout=0). Raises TimeoutError, ClosedError, PeerDeadError, InterruptedError.
        """

    def fileno(self) -> int:
        """As Consumer.fileno(), of wait_any()."""

    def close(self) -> None:
        """
        Cancels what is under way. Waits for the broker's answer, 10 s at most. Idempotent.
        """

    @property
    def closed(self) -> bool:
        """Whether it was closed, by itself or with its session."""

    @property
    def queue(self) -> str:
        """Name of its queue."""

    @property
    def calls_under_way(self) -> int:
        """
        Number of its calls that are not over, of which the queue lets it have `calls`.
        """

    @property
    def max_bytes(self) -> int:
        """Largest request in bytes."""

    @property
    def slot_bytes(self) -> int:
        """Capacity of a slot in bytes; 0: the queue has none."""

    @property
    def inline_bytes(self) -> int:
        """Largest request in bytes that needs no slot."""

    @property
    def inline_reply_bytes(self) -> int:
        """Largest reply in bytes to a request without a slot."""

class Call:
    """One call that is under way. See ipcq.Call."""

    def __init__(self, client: Client, request: BufferLike | Loan, timeout: float | None = None, length: int | None = None, waits: bool = True) -> None: ...

    def receive(self, timeout: float | None = None) -> bytes:
        """
        A copy of the call's next reply, usually its only one; `has_more` says whether another follows.

        Waits up to `timeout` seconds, and no longer than the call's own time-out. Raises TimeoutError (it goes on);
        CallFailed, ServerDied, NoServer, Expired, EndOfStream (there is no further reply), Cancelled;
        InterruptedError, ClosedError, PeerDeadError; BufferError: views of the reply before are alive.
        """

    def receive_view(self, timeout: float | None = None) -> memoryview:
        """
        The same without a copy: a read-only view, which is to be gone (view.release(), or deleted with the arrays
        that were made of it) before the next reply is asked for, or the call cancelled.
        """

    def try_receive(self) -> bytes | None:
        """The next reply if it is there now, else None. Raises as receive()."""

    def _receive_within(self, timeout: float) -> bytes | None: ...

    def cancel(self) -> None:
        """
        Ends the call: its server can see that nobody waits, and what comes for it is discarded. Does not wait.
        """

    @property
    def id(self) -> int:
        """
        Names this call among those of its queue; Request.id of one that was not passed on.
        """

    @property
    def has_more(self) -> bool:
        """Whether another reply follows the one received last."""

    @property
    def ended(self) -> bool:
        """Whether it is over: receive() says how it has ended."""

    def __buffer__(self, flags: int, /) -> memoryview: ...

class Server:
    """Answers the requests of one queue. See ipcq.Server."""

    def __init__(self, session: Session, queue: str, *, wait: str = 'hybrid', wait_for: float | None = 0.0, schema: str = '', result_schema: str = '') -> None: ...

    def receive(self, timeout: float | None = None) -> Request:
        """
        Takes the next request; each goes to one of the queue's servers. Raises Empty (timeout=0), TimeoutError,
        ClosedError, PeerDeadError, InterruptedError; Full: this server has as many requests as `held` allows.
        """

    def try_receive(self) -> Request | None:
        """The next request if there is one now, else None. Raises as receive()."""

    def _receive_within(self, timeout: float) -> Request | None: ...

    def fileno(self) -> int:
        """As Consumer.fileno()."""

    def close(self) -> None:
        """
        Ends the waits of other threads, and lets unanswered requests go as the queue's on_server_death says. Waits for
        the broker's answer, 10 s at most. Idempotent.
        """

    @property
    def closed(self) -> bool:
        """Whether it was closed, by itself or with its session."""

    @property
    def queue(self) -> str:
        """Name of its queue."""

    @property
    def cancelled(self) -> int:
        """Calls that this server found cancelled or past their time-out."""

class Request:
    """
    A request that a server has received. memoryview(r), numpy.asarray(r) and bytes(r) show it, until it
    is answered: views are to be gone by then (BufferError). Its calls return False where nobody waits
    for an answer any more (cancelled, or past its time-out). One that Python drops without an answer
    tells its caller so (ServerDied).
    """

    def reply(self, data: BufferLike, timeout: float | None = None) -> bool:
        """
        Answers the call with its last reply, by a copy. Waits until the caller has received what stream() sent
        before. Raises StatusError (too_large): the reply has no room, and the request stays open; UsageError: it was
        answered; TimeoutError, ClosedError, PeerDeadError, InterruptedError.
        """

    def stream(self, data: BufferLike, timeout: float | None = None) -> bool:
        """
        Sends one of several replies: others follow, then reply() or end(). Waits and raises as reply().
        """

    def end(self) -> bool:
        """Ends the replies: what stream() sent last was the last. Does not wait."""

    def fail(self, code: int, text: str = '', timeout: float | None = None) -> bool:
        """
        Tells the caller that the request failed (CallFailed), and why. Waits and raises as reply().
        """

    def _fail_after_views(self, code: int, text: str) -> None: ...

    def nack(self) -> bool:
        """
        Gives the request to another server, or to this one again. Does not wait.
        """

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        """
        Where an exception leaves the block the call fails with code 1 and the exception's text.
        """

    def __len__(self) -> int: ...

    def __bytes__(self) -> bytes: ...

    def tobytes(self) -> bytes:
        """A copy of the request's payload."""

    @property
    def metadata(self) -> bytes:
        """A copy of what the caller has put beside the payload; empty: nothing."""

    @property
    def open(self) -> bool:
        """Whether it can be answered."""

    @property
    def id(self) -> int:
        """
        Names its call among those of this queue: Call.id, unless it was passed on.
        """

    @property
    def client(self) -> int:
        """Id of the caller's endpoint."""

    @property
    def redeliveries(self) -> int:
        """Servers that had it before."""

    @property
    def deadline_ns(self) -> int | None:
        """
        When the caller stops waiting, in ns of time.monotonic_ns(); None: never.
        """

    @property
    def cancelled(self) -> bool:
        """
        Whether nobody waits for an answer any more: for long work to stop early.
        """

    def __buffer__(self, flags: int, /) -> memoryview: ...

class HostView:
    """
    The host side of a Buffer, while you read or write it: numpy.asarray(view), memoryview(view),
    torch.from_dlpack(view). It ends by release(), its `with`, or when Python drops it.
    """

    def __dlpack__(self, *, stream: int | None = None, max_version: tuple[int, int] | None = None, dl_device: tuple[int, int] | None = None, copy: bool | None = None) -> CapsuleType: ...

    def __dlpack_device__(self) -> tuple[int, int]: ...

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        """
        release(); where an exception leaves the block, at once or with the last array.
        """

    def release(self) -> None:
        """
        Ends the view. Raises BufferError: arrays that were made of it are alive. Idempotent.
        """

    @property
    def held(self) -> bool:
        """Whether arrays can be made of it."""

    @property
    def address(self) -> int:
        """Of the array's first byte on this side."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array."""

    @property
    def dtype(self) -> str:
        """Type of its elements, such as 'float32'."""

    @property
    def nbytes(self) -> int:
        """Bytes of its elements."""

    def __repr__(self) -> str: ...

    def __buffer__(self, flags: int, /) -> memoryview: ...

class DeviceView:
    """
    The device side of a Buffer, for the work of one stream: torch.from_dlpack(view), cupy.asarray(view). It ends
    as a HostView does, and what uses the buffer then comes behind that work. Of a buffer in host memory it shows
    that, by DLPack.
    """

    def __dlpack__(self, *, stream: int | None = None, max_version: tuple[int, int] | None = None, dl_device: tuple[int, int] | None = None, copy: bool | None = None) -> CapsuleType:
        """
        For torch.from_dlpack() and its kin. Work on `stream` comes behind what the view's own stream has now, and the
        view's end behind that work.
        """

    def __dlpack_device__(self) -> tuple[int, int]: ...

    @property
    def __cuda_array_interface__(self) -> dict[str, object]:
        """
        Version 3, for cupy.asarray() and numba.cuda.as_cuda_array(). Nobody counts these arrays: use
        them on the view's stream, and drop them before its end.
        """

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        """
        release(); where an exception leaves the block, at once or with the last array.
        """

    def release(self) -> None:
        """
        Ends the view. Raises BufferError: arrays that were made of it are alive. Idempotent.
        """

    @property
    def held(self) -> bool:
        """Whether arrays can be made of it."""

    @property
    def address(self) -> int:
        """Of the array's first byte on this side."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array."""

    @property
    def dtype(self) -> str:
        """Type of its elements, such as 'float32'."""

    @property
    def nbytes(self) -> int:
        """Bytes of its elements."""

    def __repr__(self) -> str: ...

class BufferState(enum.Enum):
    """Which side of a Buffer has the newest contents."""

    SYNCED = 0
    """Both."""

    HOST_NEWER = 1
    """The host side."""

    DEVICE_NEWER = 2
    """The device side."""

class Buffer:
    """
    One array in pinned host memory and on a GPU, synchronised when a side is read.

    Reading a side whose contents are stale copies them first, once; writing a side makes the other
    stale. Views (host(), device()) say which: a view that writes one side ends before the other is
    used (BufferError). numpy.asarray(buffer), and producer.send_array(buffer), read the host side.
    Usable from any thread. As a context manager it is released at the end; memory is freed, or back
    in its pool, once the streams that have used it are done.
    """

    def __init__(self, shape: Sequence[int], dtype: object = 'uint8', *, device: int | str | None = None) -> None:
        """
        Allocates and pins it, zeroed: not beside kernels, for which the driver waits (BufferPool).

        device: the number of a GPU; None: host memory alone, which both sides show; 'auto': GPU 0 where the driver
        has one, else host memory. Raises BackendError (no driver, no such GPU, no room), ValueError, MemoryError.
        """

    def __dlpack__(self, *, stream: int | None = None, max_version: tuple[int, int] | None = None, dl_device: tuple[int, int] | None = None, copy: bool | None = None) -> CapsuleType: ...

    def __dlpack_device__(self) -> tuple[int, int]: ...

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any: ...

    def host(self, *, write: bool = False, keep: bool = True, timeout: float | None = None) -> HostView:
        """
        A view of the host side. Waits until no copy writes it (or, with write=True, uses it); kernels that
        use the device side are not waited for, unless they write what this reads.

        write: the device side is stale from now on. keep=False: all of it will be written, so nothing is
        copied for it. timeout: seconds. Raises BufferError (views of the device side), TimeoutError,
        BackendError.
        """

    def device(self, stream: object, *, write: bool = False, keep: bool = True) -> DeviceView:
        """
        A view of the device side for the work of one stream, which waits for the work of others on it. The CPU
        waits for nothing.

        stream: of PyTorch, CuPy, Numba or cuda.core, or its handle, which must stay until the view's end. None is
        refused, but for host memory, which has no streams. write, keep: as of host(). Raises BufferError (views
        of the host side), BackendError, TypeError, UsageError (the stream captures a graph, or is of another GPU).
        """

    def to_device(self, stream: object = None) -> None:
        """
        Enqueues the copy to the device, if that side is stale, ahead of its use. None: in a stream of the
        buffer's own. Raises as device().
        """

    def to_host(self, stream: object = None) -> None:
        """The same to the host: what reads that side waits for it."""

    def mark_host_dirty(self) -> None:
        """
        Says that the host side was written, by its address. Raises UsageError: the device side is newer
        already, so both were written. BufferError: views of the device side are alive.
        """

    def mark_device_dirty(self, stream: object) -> None:
        """
        Says that what `stream` has now writes the device side, by its address. Raises as mark_host_dirty().
        """

    def synchronize(self, timeout: float | None = None) -> None:
        """
        Waits until no stream uses it: copies, and the work of views that have ended. Copies nothing. Raises
        TimeoutError.
        """

    def copy_from(self, source: BufferLike | DeviceMessage, stream: object = None) -> None:
        """
        Fills it: of a DeviceMessage the device side, in `stream`, behind the message's payload and before its
        release; of what has a buffer (a Message, an array) the host side, now. Raises ValueError: it has another
        size in bytes.
        """

    def release(self) -> None:
        """
        Ends it: its memory is freed, or goes back to its pool, behind the streams that have used it. Does
        not wait. Raises BufferError: views are alive. Idempotent.
        """

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        """
        release(); where an exception leaves the block, at once or with the last view.
        """

    @property
    def held(self) -> bool:
        """Whether it is neither released nor back in its pool."""

    @property
    def state(self) -> BufferState:
        """Which side is newer."""

    @property
    def backend(self) -> str:
        """'cuda', or 'host': one memory for both sides."""

    @property
    def gpu(self) -> int | None:
        """Number of the GPU; None: host memory."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array."""

    @property
    def dtype(self) -> str:
        """Type of its elements, such as 'float32'."""

    @property
    def nbytes(self) -> int:
        """Bytes of its elements, on one side."""

    def __repr__(self) -> str: ...

    def __buffer__(self, flags: int, /) -> memoryview: ...

class BufferPool:
    """
    Buffers of one shape whose memory is allocated once. See ipcq.BufferPool.
    """

    def __init__(self, count: int, shape: Sequence[int], dtype: object = 'uint8', *, device: int | str | None = None) -> None: ...

    def get(self, timeout: float | None = None) -> Buffer:
        """
        A buffer that no stream uses; its contents are unspecified, and neither side is stale. Waits for
        one, up to `timeout` seconds (None: no limit; 0: not at all). Raises TimeoutError or, for 0, Empty,
        which say how many are held; ClosedError.
        """

    def close(self, timeout: float | None = 10.0) -> int:
        """
        Lends nothing more, waits for the streams that use what came back, and frees it. Returns how many
        buffers are not freed: those that are held, which are not waited for and are freed when they come
        back, and those that streams still used after the time-out. Idempotent.
        """

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        """close(), which by an exception does not wait."""

    @property
    def closed(self) -> bool:
        """Whether close() was called."""

    @property
    def backend(self) -> str:
        """Of its buffers: 'cuda', or 'host', one memory for both sides."""

    @property
    def gpu(self) -> int | None:
        """Number of the GPU; None: host memory."""

    def _counts(self) -> tuple[int, int, int, int, int, int]: ...

    def __repr__(self) -> str: ...

class DeviceMessage:
    """
    A received message for the work of one stream: torch.from_dlpack(m), cupy.asarray(m). That work
    waits for the payload, and the message's end comes behind it; the CPU waits for neither.
    As a context manager it is released at the end.
    """

    def __dlpack__(self, *, stream: int | None = None, max_version: tuple[int, int] | None = None, dl_device: tuple[int, int] | None = None, copy: bool | None = None) -> CapsuleType:
        """
        For torch.from_dlpack() and its kin. Work on `stream` comes behind the payload, and the payload's end behind
        that work.
        """

    def __dlpack_device__(self) -> tuple[int, int]: ...

    @property
    def __cuda_array_interface__(self) -> dict[str, object]:
        """
        Version 3, for cupy.asarray() and numba.cuda.as_cuda_array(). It does not tell when its consumer is
        done: use the arrays on the stream that was passed, and drop them before the end.
        """

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        pass

    def release(self) -> None:
        """
        Enqueues the release behind the work of the streams that use it. Raises BufferError: arrays that were made of
        it by DLPack are alive. Without effect after detach().
        """

    def detach(self) -> Self:
        """
        From now on it is released with the last array that was made of it by DLPack. Returns the message itself.
        """

    @property
    def held(self) -> bool:
        """Whether it is still held: arrays of it can be made."""

    @property
    def status(self) -> ipcq._errors.Status:
        """
        Once the stream has passed the receive: OK, or PEER_DEAD where the payload will never be
        complete. Before that, OK means that it may still be incomplete.
        """

    @property
    def nbytes(self) -> int:
        """Size of the payload in bytes."""

    def __len__(self) -> int: ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array that was sent, in elements; of bytes, their number."""

    @property
    def dtype(self) -> str:
        """Name of the elements' type, such as 'float32'; 'uint8' of bytes."""

    @property
    def metadata(self) -> bytes:
        """
        A copy of what the producer has put beside the payload; empty: nothing.
        """

    @property
    def address(self) -> int:
        """Of the payload on the device."""

    @property
    def sequence(self) -> int:
        """Number of this message among those of its producer, from 0."""

    @property
    def producer(self) -> int:
        """Id of the producer, unique while it is attached."""

    @property
    def ticket(self) -> int:
        """Place in the queue's order: grows by one a message."""

    @property
    def published_at_ns(self) -> int:
        """
        When it was published, in ns of time.monotonic_ns(); 0 of a message that needed no slot.
        """

    def __repr__(self) -> str: ...

class DeviceLoan:
    """
    A slot in device memory, to be written by the work of one stream: torch.from_dlpack(slot).copy_(x).
    publish() enqueues behind that work, and waits for nothing on the GPU. A loan that is not
    published goes back when its `with` ends, or when Python drops it.
    """

    def __dlpack__(self, *, stream: int | None = None, max_version: tuple[int, int] | None = None, dl_device: tuple[int, int] | None = None, copy: bool | None = None) -> CapsuleType:
        """
        For torch.from_dlpack() and its kin. Work on `stream` comes behind the payload, and the payload's end behind
        that work.
        """

    def __dlpack_device__(self) -> tuple[int, int]: ...

    @property
    def __cuda_array_interface__(self) -> dict[str, object]:
        """
        Version 3, for cupy.asarray() and numba.cuda.as_cuda_array(). It does not tell when its consumer is
        done: use the arrays on the stream that was passed, and drop them before the end.
        """

    def publish(self, length: int | None = None, timeout: float | None = None) -> None:
        """
        Publishes the first `length` bytes (None: the array, or the whole slot) with the contents that they have when the
        streams that wrote them reach this point. Waits on the CPU for a free line alone. Raises as Loan.publish().
        """

    def set_metadata(self, data: BufferLike) -> None:
        """As Loan.set_metadata()."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        pass

    @property
    def held(self) -> bool:
        """Whether it can be written and published."""

    @property
    def nbytes(self) -> int:
        """Capacity of the slot in bytes."""

    def __len__(self) -> int: ...

    @property
    def address(self) -> int:
        """Of the slot on the device."""

    def __repr__(self) -> str: ...

def device_count() -> int: ...

def describe_device(index: int) -> tuple[str, int, tuple[int, int], int, tuple[int, int]]: ...

def receive_on(consumer: Consumer, stream: object, timeout: float | None, device: int) -> DeviceMessage: ...

def loan_on(producer: Producer, stream: object, timeout: float | None, shape: Sequence[int] | None, dtype: object, device: int) -> DeviceLoan: ...

library_version: str

abi: int

has_cuda: bool

compiler: str

architectures: str

def to_json(schema: str, payload: bytes, metadata: bytes = b'') -> str:
    """
    A message of a type as JSON, by the queue's schema as text. Raises UsageError: no schema, or no such value.
    """

def handler_names() -> list[str]:
    """Names of the built-in handlers."""

def _close_all() -> None: ...
