"""A client of a Redis server for scripts that need no more than the protocol (RESP2) over a unix socket.

Here so that what checks ipcq-redis shares no code with it. Binary safe: arguments are bytes, text or numbers, and what
comes back is bytes, int, list or None. Commands may be sent together; their replies come in their order. Not
thread-safe. Whatever breaks the connection is an OSError; a command whose reply has not come may have been done or not.
"""
import socket


class RedisError(Exception):
    """An error that the server has answered."""


def encoded(command):
    parts = [a if isinstance(a, bytes) else str(a).encode() for a in command]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


class Connection:
    def __init__(self, path, timeout=10):
        self.socket = socket.socket(socket.AF_UNIX)
        try:
            self.socket.settimeout(timeout)  # of each read and write
            self.socket.connect(path)
        except OSError:
            self.socket.close()
            raise
        self.reader = self.socket.makefile("rb", buffering=1 << 18)

    def close(self):
        self.reader.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, commands):
        self.socket.sendall(b"".join(encoded(command) for command in commands))

    def line(self):
        text = self.reader.readline()
        if not text.endswith(b"\r\n"):
            raise ConnectionError("the server has closed the connection")
        return text[:1], text[1:-2]

    def receive(self):
        """One reply. An error is returned, not raised: it may be one of many replies."""
        kind, text = self.line()
        if kind == b"+":
            return text
        if kind == b":":
            return int(text)
        if kind == b"-":
            return RedisError(text.decode(errors="replace"))
        if kind == b"$":
            size = int(text)
            if size < 0:
                return None
            body = self.reader.read(size + 2)
            if len(body) < size + 2:
                raise ConnectionError("the server has closed the connection")
            return body[:-2]
        if kind == b"*":
            return None if int(text) < 0 else [self.receive() for _ in range(int(text))]
        raise ConnectionError(f"the server has answered what is no reply: {kind + text}")

    def pipeline(self, commands):
        """The replies to commands that are sent together; errors are among them."""
        self.send(commands)
        return [self.receive() for _ in commands]

    def call(self, *command):
        reply = self.pipeline([command])[0]
        if isinstance(reply, RedisError):
            raise reply
        return reply
