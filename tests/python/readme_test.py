#!/usr/bin/env python3
"""readme_test.py README PREFIX

Runs the three processes of the package's README word for word, by the programs and the interpreter of the virtual
environment PREFIX, and compares all that they say.
"""
import os
import re
import signal
import subprocess
import sys
import tempfile

WAIT = 30  # seconds


def blocks_of(readme):
    """The README's blocks: the broker's command, programs by their names, what the consumer prints."""
    with open(readme, encoding="utf-8") as f:
        found = re.findall(r"^```(\w+)\n(.*?)^```$", f.read(), re.M | re.S)
    by_kind = {}
    for kind, text in found:
        by_kind.setdefault(kind, []).append(text)
    programs = {re.match(r"# (\w+\.py)\n", text)[1]: text for text in by_kind["python"]}
    return by_kind["sh"][0].strip(), programs, by_kind["text"][0]


def main():
    readme, prefix = sys.argv[1:]
    command, programs, expected = blocks_of(readme)
    bin_dir = os.path.join(prefix, "bin")
    failed = []

    def check(name, process, out, code=0):
        said, errors = process.communicate(timeout=WAIT)
        if process.returncode != code or said != out or errors:
            failed.append(f"{name}: exit code {process.returncode}, printed {said!r}, instead of {out!r}; on stderr {errors!r}")

    with tempfile.TemporaryDirectory(prefix="ipcq-") as work:
        environment = {"PATH": f"{bin_dir}:/usr/bin:/bin", "XDG_RUNTIME_DIR": work, "HOME": work, "LC_ALL": "C.UTF-8"}

        def start(*arguments):
            return subprocess.Popen(arguments, cwd=work, env=environment, text=True, stdin=subprocess.DEVNULL,
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE)

        for name, text in programs.items():
            with open(os.path.join(work, name), "w", encoding="utf-8") as f:
                f.write(text)
        running = []
        try:
            # Clients first: they wait for the broker, and the broker for nobody.
            for name in ("consumer.py", "producer.py"):
                running.append(start(os.path.join(bin_dir, "python"), name))
            broker = start("sh", "-c", "exec " + command)
            running.append(broker)
            check("consumer.py", running[0], expected)
            check("producer.py", running[1], "")
            stats = subprocess.run(["ipcq", "list"], env=environment, capture_output=True, text=True, timeout=WAIT, check=False)
            if stats.returncode != 0 or "default" not in stats.stdout or stats.stderr:
                failed.append(f"ipcq list: exit code {stats.returncode}, printed {stats.stdout!r}; on stderr {stats.stderr!r}")
            broker.send_signal(signal.SIGINT)
            said, errors = broker.communicate(timeout=WAIT)
            if broker.returncode != 0 or "frames" not in said + errors or re.search("warn|error", said + errors, re.I):
                failed.append(f"the broker: exit code {broker.returncode}, printed {said!r}; on stderr {errors!r}")
        finally:
            for process in running:
                if process.poll() is None:
                    process.kill()
                    process.wait()
        left = [name for _, _, names in os.walk(work) for name in names if not name.endswith(".py")]
        if left:
            failed.append(f"left behind: {left}")
    print("\n".join(failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
