"""Python processes that are killed while they use a GPU: what it costs them is nobody else's, or is said.

Under an MPS server a process that is killed within a kernel makes the contexts of all clients of the server fail, the
runner's too. So all of them are processes of their own here: this one has no context to lose.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import ipcq
import pytest
from conftest import WAIT, eventually, gpu_or_skip, group_stats, queue_stats

DEVICE = gpu_or_skip("the played GPU ends with its process, and has no MPS", whole_module=True)

BYTES = 32 << 20
SLOTS = 4

CONSUMER = """
with ipcq.connect(name) as session, session.consumer("q", cuda=True) as consumer:
    say("ready")
    while True:
        message = consumer.receive()
        say("got", message.sequence)
        if message.sequence == {dies_at}:
            if {in_kernel}:
                import torch
                tensor = torch.from_dlpack(message)
                numbers = tensor.view(torch.float32)   # kernels that touch the queue's memory, one behind the other
                begin, said = time.monotonic(), False
                while True:
                    numbers.lgamma_()
                    if not said and time.monotonic() > begin + 1:
                        said = True
                        say("in kernel")
            time.sleep(60)
        message.release()
"""


def kill(child):
    child.signal(signal.SIGKILL)
    child.finish(-signal.SIGKILL)


def under_mps():
    directory = os.environ.get("CUDA_MPS_PIPE_DIRECTORY")
    if directory is None or not Path(directory).exists():
        return False
    asked = subprocess.run(["nvidia-cuda-mps-control"], input="get_server_list\n", capture_output=True, text=True)
    return asked.returncode == 0


@pytest.fixture
def frames(broker):
    broker.remove("q")
    broker.create("q", slots=SLOTS, slot_bytes=BYTES, backend="cuda", handler="invert")
    broker.create("other", slots=SLOTS, slot_bytes=BYTES, backend="cuda", handler="invert")
    return broker


def exchange(session, queue):
    """One message through a queue, and what is left there, by endpoints without a GPU that are opened each time."""
    with session.producer(queue, wait_for=WAIT) as producer, session.consumer(queue, wait_for=WAIT) as consumer:
        producer.send(b"\7" * BYTES, timeout=WAIT)
        received = [consumer.receive_bytes(timeout=WAIT)]
        while message := consumer.try_receive():
            with message:
                received.append(bytes(message))
        return bytes([0xFF ^ 7]) * BYTES in received


def exchanges(session, queue):
    """Whether it does; after a loss clients are told that the queue has closed, and open the new one."""
    try:
        return exchange(session, queue)
    except (ipcq.ClosedError, ipcq.NotFoundError, ipcq.TimeoutError, ipcq.BackendError):
        return False


def test_a_consumer_that_is_killed_gives_its_message_to_another(frames, session, start):
    dying = start(CONSUMER.format(dies_at=2, in_kernel=False))
    assert dying.line() == "ready"
    with session.producer("q") as producer:
        for number in range(3):
            producer.send(bytes([number]) * BYTES, timeout=WAIT)
            assert dying.line() == f"got {number}"
        other = start(CONSUMER.format(dies_at=-1, in_kernel=False))
        assert other.line() == "ready"
        dying.signal(signal.SIGKILL)
        assert other.line() == "got 2"
        for number in range(3, 3 + 3 * SLOTS):
            producer.send(bytes([number]) * BYTES, timeout=WAIT)
            assert other.line() == f"got {number}"
    eventually(lambda: queue_stats(frames).empty == SLOTS, "every slot is free again")
    assert group_stats(frames).redelivered == 1
    other.signal(signal.SIGKILL)


def test_one_that_is_killed_within_a_kernel_costs_no_queue(frames, session, start):
    """Under MPS the queues may be lost, which is said, and created anew; without it nobody notices."""
    mps = under_mps()
    dying = start(CONSUMER.format(dies_at=0, in_kernel=True))
    assert dying.line() == "ready"
    bystander = start(CONSUMER.format(dies_at=-1, in_kernel=False).replace('"q"', '"other"'))
    assert bystander.line() == "ready"
    with session.producer("q") as producer, session.producer("other") as others:
        producer.send(bytes(BYTES), timeout=WAIT)
        others.send(bytes(BYTES), timeout=WAIT)
        assert bystander.line() == "got 0"
        assert dying.line() == "got 0"
        assert dying.line() == "in kernel"
        kill(dying)
        if mps:
            # Undefined, says MPS: the queues are lost, or nobody notices. It is never silent.
            deadline = time.monotonic() + 3
            try:
                while time.monotonic() < deadline:
                    others.send(bytes(BYTES), timeout=WAIT)
                print("nobody has noticed")
            except (ipcq.ClosedError, ipcq.PeerDeadError) as error:
                print("the loss is told:", error)
                bystander.finish(None)
                assert "closed" in bystander.stderr() or "CUDA" in bystander.stderr()
            else:
                kill(bystander)
        else:
            for number in range(1, 4 * SLOTS):
                others.send(bytes(BYTES), timeout=WAIT)
                assert bystander.line() == f"got {number}"
            kill(bystander)
    for queue in ("q", "other"):
        eventually(lambda queue=queue: not group_stats(frames, queue=queue).members, f"the dead have left {queue}")
        eventually(lambda queue=queue: exchanges(session, queue), f"queue {queue} works")
        eventually(lambda queue=queue: queue_stats(frames, queue).empty == SLOTS, f"all slots of {queue} are free")
