"""The feeders of a round of scripts/soak-redis: they add tasks, and know which ones the server has confirmed.

Here so that what is a task stands in one place. A payload must keep the form `f<feeder> <number> ... <crc>`: numbers
make each unlike any other, and the CRC tells a damaged one from one that was never sent. The text between may be
anything without upper-case letters, so that a result which nobody has worked on is seen.
"""
import random
import threading
import zlib

from redis_wire import Connection, RedisError

FIELD, STREAM = b"payload", "work"
SIZES = (0, 1, 30, 100, 500, 3000)
MOST_AT_ONCE = 64


def payload_of(feeder, number, text):
    body = b"f%d %d %s " % (feeder, number, text)
    return body + b"%08x" % zlib.crc32(body)


def is_whole(payload):
    """Whether the CRC is that of the rest."""
    return payload[-8:] == b"%08x" % zlib.crc32(payload[:-8])


class Feeder(threading.Thread):
    """Adds tasks at a steady rate until told to stop, over a new connection when the old one has broken."""

    def __init__(self, number, seed, rate, socket):
        super().__init__(daemon=True)
        self.number, self.rate, self.socket = number, rate, socket
        self.random = random.Random(f"{seed} feeder {number}")
        self.confirmed = {}  # payloads by the ids that the server has answered
        self.unsure = set()  # payloads that were sent, and no answer came: they are in the stream or not
        self.refused = 0     # the server answered that it did not take them
        self.sent = 0
        self.error = None
        self.stopping = threading.Event()

    def run(self):
        connection, pause = None, 0
        try:
            while not self.stopping.wait(pause):
                count = self.random.randint(1, MOST_AT_ONCE)
                pause = count / self.rate
                try:
                    connection = connection or Connection(self.socket, timeout=5)
                    self.add(connection, count)
                except OSError:  # the server was killed
                    if connection:
                        connection.close()
                    connection, pause = None, 0.02
        except Exception as error:  # of whatever kind: the round tells of it
            self.error = error
        finally:
            if connection:
                connection.close()

    def add(self, connection, count):
        payloads = []
        for _ in range(count):
            self.sent += 1
            text = self.random.randbytes(self.random.choice(SIZES)).lower()
            payloads.append(payload_of(self.number, self.sent, text))
        self.unsure.update(payloads)
        connection.send([["XADD", STREAM, "*", FIELD, payload] for payload in payloads])
        for payload in payloads:
            reply = connection.receive()
            self.unsure.remove(payload)
            if isinstance(reply, RedisError):
                self.refused += 1
            else:
                self.confirmed[reply] = payload
