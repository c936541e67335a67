"""What the parts of scripts/lint share: reading a file, and telling what is wrong."""
import os

failed = False


def complain(text):
    global failed
    failed = True
    print(text)


def read(root, file):
    with open(os.path.join(root, file), encoding="utf-8", errors="replace") as f:
        return f.read()
