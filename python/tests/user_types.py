"""A user's program for type checkers (scripts/test-python): it is not run."""

import ipcq
import numpy as np


def f(session: ipcq.Session) -> None:
    p = session.producer("q")
    p.send(np.zeros(3))
    p.send_array(np.zeros(3, dtype=np.float32))
    p.try_send(b"x")
    with p.loan(shape=(3,), dtype=np.float32) as s:
        np.asarray(s)[:] = 1
    b = ipcq.Buffer((3,), np.dtype("float32"))
    assert np.from_dlpack(b.host()).shape == (3,)
