"""What references do where messages are too long."""

import actor_samples as samples
import ipcq
import numpy as np
import pytest
from conftest import WAIT


@pytest.mark.parametrize("actor", [samples.echo, samples.turn, samples.double])
def test_a_message_that_is_too_long_names_the_option_that_helps(runtime, run, actor):
    message = {"echo": b"x" * 5000, "turn": samples.Note("x" * 5000, []), "double": np.zeros(5000, np.uint8)}
    ref = runtime.launch(actor, message_bytes=4096)
    word = message[ref.name]
    for call in (ref.ask, ref.tell, lambda word: list(ref.stream(word)), lambda word: run(ref.ask_async(word))):
        with pytest.raises(ipcq.UsageError, match=r"actor .* takes \d+ at most: .* larger message_bytes"):
            call(word)


@pytest.mark.parametrize(("of", "message"), [(None, b"x" * 5000), (np.ndarray, np.zeros(5000, np.uint8))])
def test_a_message_that_is_too_long_for_a_handler_names_the_option_that_helps(runtime, of, message):
    ref = runtime.launch_handler("a", "invert", input=of, output=of, slot_bytes=4096)
    with pytest.raises(ipcq.UsageError, match="takes 4096 at most: .* larger slot_bytes"):
        ref.ask(message, timeout=WAIT)
