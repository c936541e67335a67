"""The broker of a round of scripts/soak, its queues, and what `ipcq` says of them.

Here so that all else of the soak starts programs and asks the broker in one way, and no wait for an answer is without
an end. Queues may be added: soak_clients.py then needs to know how long their lines may be, and soak_terms.py which of
them have a handler. Names of objects must keep the broker's name in them: soak_terms.py looks for those that are left.
"""
import contextlib
import glob
import json
import os
import signal
import subprocess
import sys

PATIENCE = 60  # seconds for what must end by itself


def queue_specs(o, seed):
    """The queues by name, as --queue of ipcq-broker takes them. On the host the seed chooses how long the lines of one
    are: with the shortest most of its messages travel in slots, with the longest none does."""
    on_gpu = ",mirror=full" if o.backend == "cuda" else ""
    kinds = (",executor=persistent", ",executor=stream") if o.backend == "cuda" else ("", "")
    line = "" if o.backend == "cuda" else f",line={(128, 64, 192, 1088)[seed % 4]}"
    specs = {
        "slots": f"slots=4KiB,slots=256,handler=upper,group=default,group=second{on_gpu}{kinds[0]}",
        "inline": f"inline=inline,handler=upper{kinds[1]}",
        "plain": f"plain=256,slots=64,lines=4096{line}{on_gpu}",
    }
    if o.own:
        handler = os.path.join(os.path.dirname(os.path.abspath(__file__)), "soak_handler.cu")
        specs["own"] = f"own=4KiB,slots=128,handler={handler},threads=2,group=default,group=second{on_gpu}"
    if o.frames:
        specs["frames"] = f"frames=4k-rgb,slots={o.frames},handler=invert,mirror=full"
    return specs


def groups_of(queue):
    return ("default", "second") if queue in ("slots", "own") else ("default",)


class Broker:
    def __init__(self, o, seed, records):
        self.o, self.records = o, records
        self.patience = PATIENCE
        self.name = f"soak-{os.getpid()}-{seed}"
        self.env = dict(os.environ, IPCQ_BROKER=self.name)
        self.specs = queue_specs(o, seed)

    def program(self, name):
        return os.path.join(self.o.bin, name)

    def start_program(self, arguments, log, **more):
        with open(self.records.path(log), "w") as errors:
            return subprocess.Popen(arguments, env=self.env, stdin=subprocess.DEVNULL, stderr=errors, **more)

    def start(self):
        ready, said = os.pipe()
        arguments = [self.program("ipcq-broker"), "--backend", self.o.backend, "--ready-fd", str(said)]
        for spec in self.specs.values():
            arguments += ["--queue", spec]
        self.process = self.start_program(arguments, "broker.log", pass_fds=[said], stdout=subprocess.DEVNULL)
        os.close(said)
        if os.read(ready, 1) != b"\n":
            sys.exit(f"soak: the broker did not start: {self.records.read('broker.log')}")
        os.close(ready)
        self.stats()  # once: what the broker opens at its first client and keeps is no leak
        self.descriptors_at_start = self.descriptors()

    def is_running(self):
        return self.process.poll() is None

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def ask(self, *arguments):
        try:
            return subprocess.run([self.program("ipcq"), *arguments], env=self.env, capture_output=True, text=True,
                                  timeout=self.patience)
        except subprocess.TimeoutExpired:
            self.records.fail(f"ipcq {' '.join(arguments)}: no answer in {self.patience} s", "hung")
            return None

    def stats(self):
        said = self.ask("stats", "--json")
        if said is None or said.returncode:
            return None
        return json.loads(said.stdout)

    def dump(self, queue):
        said = self.ask("dump", queue)
        self.records.say(said.stdout[-2000:] if said else "")

    def kill_runners(self):
        for path in glob.glob(f"/proc/{self.process.pid}/task/*/children"):
            with contextlib.suppress(FileNotFoundError):
                with open(path) as f:
                    children = f.read().split()
                for pid in children:
                    with contextlib.suppress(ProcessLookupError):  # it may just have ended
                        os.kill(int(pid), signal.SIGKILL)
                        self.records.kills["runner"] += 1

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        try:
            if self.process.wait(self.patience) != 0:
                self.records.fail(f"the broker ended with {self.process.returncode}: "
                                  f"{self.records.read('broker.log')[-500:]}")
        except subprocess.TimeoutExpired:
            self.records.fail("the broker does not end", "hung")
            self.process.kill()
            self.process.wait()

    def names_left(self):
        """What the broker made in /dev/shm and the run directory and that is still there."""
        run_dir = os.path.join(os.environ.get("XDG_RUNTIME_DIR") or
                               ("/run" if os.getuid() == 0 else f"/tmp/ipcq-{os.getuid()}"), "ipcq")
        return glob.glob(f"/dev/shm/*{self.name}*") + glob.glob(os.path.join(run_dir, f"{self.name}.sock"))
