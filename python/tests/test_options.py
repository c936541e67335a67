"""Options of queues and pools: what was asked for is what there is, and what cannot be is refused with a remedy."""

from __future__ import annotations

from pathlib import Path

import ipcq
import pytest
from conftest import queue_stats
from ipcq import _options

ASKED = {
    "slots": ({"slots": 7}, {"slots": 7, "empty": 7}),
    "no slots": ({"slots": 0}, {"slots": 0, "slot_bytes": 0, "metadata_bytes": 0}),
    "slot_bytes": ({"slot_bytes": 5000}, {"slot_bytes": 5000}),
    "slot_bytes as text": ({"slots": 2, "slot_bytes": "64KiB"}, {"slot_bytes": 65536}),
    "lines": ({"lines": 100}, {"lines": 128}),
    "line": ({"line": 1088}, {"line_bytes": 1088, "inline_bytes": 1056}),
    "batch": ({"batch": "records"}, {"batch": "records"}),
    "handler": ({"handler": "upper"}, {"handler": "upper", "executor": "host"}),
    "a handler's threads": ({"handler": "upper", "threads": 2, "wait": "sleep"}, {"handler": "upper"}),
    "no handler": ({}, {"handler": "", "executor": "none", "batch": "messages", "backpressure": "block"}),
    "backend": ({"backend": "host"}, {"backend": "host"}),
    "reject": ({"backpressure": "reject"}, {"backpressure": "reject"}),
    "drop-oldest": ({"backpressure": "drop-oldest"}, {"backpressure": "drop-oldest"}),
    "paused": ({"paused": True}, {"paused": True}),
    "metadata": ({"metadata": 300}, {"metadata_bytes": 300}),
    "metadata unless told otherwise": ({}, {"metadata_bytes": 128}),
    "schema": ({"schema": "tensor"}, {"schema": "tensor"}),
    "result_schema": ({"handler": "upper", "result_schema": "tensor"}, {"result_schema": "tensor"}),
    "calls": ({"calls": 5}, {"calls": 5, "on_server_death": "fail"}),
    "on_server_death": ({"calls": 5, "on_server_death": "redeliver"}, {"on_server_death": "redeliver"}),
}


@pytest.mark.parametrize(("options", "expected"), ASKED.values(), ids=ASKED.keys())
def test_a_queue_is_what_was_asked_for(broker, name, options, expected):
    broker.create("asked", **options)
    ipcq.create_queue("asked-by-a-client", broker=name, **options)
    for queue in ("asked", "asked-by-a-client"):
        stats = queue_stats(broker, queue)
        assert {key: getattr(stats, key) for key in expected} == expected


def test_groups_are_names_or_say_more(broker):
    broker.create("groups", groups=["a", ipcq.Group("b", policy="lossy"), ipcq.Group("c", paused=True)])
    groups = {one.name: (one.durable, one.lossy, one.paused) for one in queue_stats(broker, "groups").groups}
    assert groups == {"a": (True, False, False), "b": (True, True, False), "c": (True, False, True)}
    broker.create("no-groups", groups=[])
    assert queue_stats(broker, "no-groups").groups == []
    with pytest.raises(ipcq.UsageError, match=r"sometimes.*must, lossy"):
        broker.create("wrong", groups=[ipcq.Group("a", policy="sometimes")])


def test_one_name_is_no_list_of_groups(broker):
    for wrong in ("ab", ipcq.Group("a"), 5):  # text is an iterable, of names of one letter
        with pytest.raises((ipcq.UsageError, TypeError), match="groups"):
            broker.create("wrong", groups=wrong)


EVERY_OPTION = {
    "slots": 9,
    "pool": "p",
    "lines": 5,
    "line": 256,
    "batch": "records",
    "handler": "upper",
    "defines": ["A", "B=2"],
    "includes": ["/tmp"],
    "quick_start": False,
    "handler_deadline": 0.25,
    "state_bytes": 11,
    "state_file": "/tmp/state",
    "isolate": True,
    "backend": "cuda",
    "device": 3,
    "mirror": "none",
    "host_readable": False,
    "executor": "stream",
    "threads": 4,
    "wait": "spin",
    "backpressure": "reject",
    "paused": True,
    "endpoints": 77,
    "held": 88,
    "calls": 6,
    "on_server_death": "redeliver",
    "metadata": 64,
    "schema": "tensor",
    "result_schema": "u64",
}


@pytest.mark.parametrize(("key", "value"), EVERY_OPTION.items(), ids=EVERY_OPTION.keys())
def test_every_option_reaches_the_library(key, value):
    options = _options.queue_options("q", {key: value})
    assert getattr(options, key) == value
    assert getattr(_options.queue_options("q", {}), key) != value  # so the test sees that it was set


def test_every_option_is_tested():
    known = {**_options.PoolOptions.__annotations__, **_options.QueueOptions.__annotations__}
    assert set(EVERY_OPTION) == set(known) - {"slot_bytes", "groups"}


def test_paths_are_taken_where_files_are_named():
    options = _options.queue_options(
        "q", {"handler": Path("/a/b.cpp"), "includes": [Path("/c")], "state_file": Path("d")}
    )
    assert (options.handler, options.includes, options.state_file) == ("/a/b.cpp", ["/c"], "d")


def test_any_path_like_is_taken_where_files_are_named():
    class Named:
        def __fspath__(self):
            return "/a/b.cpp"

    assert _options.queue_options("q", {"handler": Named()}).handler == "/a/b.cpp"


@pytest.mark.parametrize(
    ("size", "bytes_"),
    [
        (1, 1),
        ("1", 1),
        ("4k-rgb", 24883200),
        ("64KiB", 65536),
        ("1.5MB", 1500000),
        (".5k", 500),
        ("2GiB", 2**31),
        ("7B", 7),
    ],
)
def test_sizes_are_numbers_or_text(size, bytes_):
    assert _options.pool_options("p", {"slot_bytes": size}).size == bytes_


@pytest.mark.parametrize("size", ["", "KiB", "1.5", "0", "-5", "5 KiB", "1e3", "64kib", "1..5k", "\u0663"])
def test_what_is_no_size_is_refused_and_the_text_says_what_is(size):
    with pytest.raises(ipcq.UsageError, match=r"pool 'p', slot_bytes.*KiB"):
        _options.pool_options("p", {"slot_bytes": size})


def test_a_size_that_is_no_whole_number_is_refused():
    for size in (1.5, None, [1]):
        with pytest.raises((ipcq.UsageError, TypeError)):
            _options.pool_options("p", {"slot_bytes": size})


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("slot", "slots"),
        ("slotbytes", "slot_bytes"),
        ("backpresure", "backpressure"),
        ("group", "groups"),
        ("size", "slot_bytes"),
        ("state", "state_bytes"),
        ("handlr", "handler"),
    ],
)
def test_an_option_that_is_none_is_refused_with_the_one_that_was_meant(broker, name, wrong, right):
    for create in (broker.create, lambda queue, **options: ipcq.create_queue(queue, broker=name, **options)):
        with pytest.raises(ipcq.UsageError, match=rf"'new'.*'{wrong}'.*did you mean {right}\?"):
            create("new", **{wrong: 1})
    with pytest.raises(ipcq.UsageError, match=r"'xyzzy'.*there are.*slots"):
        broker.create("new", xyzzy=1)
    with pytest.raises(ipcq.UsageError, match=r"pool 'new'.*'handler'"):
        broker.create_pool("new", handler="upper")
    assert [queue.name for queue in broker.stats().queues] == ["q"]


REFUSED = {
    "slots": ({"slots": 2**21}, "slots"),
    "slot_bytes": ({"slot_bytes": 2**33}, "slot|size"),
    "no bytes": ({"slot_bytes": 0}, "slot|size"),
    "lines": ({"lines": 2**25}, "lines"),
    "line": ({"line": 100}, "64"),
    "endpoints": ({"endpoints": 0}, "endpoints"),
    "held": ({"held": 5000}, "4096"),
    "metadata": ({"metadata": 5000}, "4096"),
    "groups": ({"groups": [f"g{number}" for number in range(9)]}, "8"),
    "a group's name": ({"groups": ["no name"]}, "no name"),
    "threads": ({"handler": "upper", "threads": 300}, "threads"),
    "handler": ({"handler": "inwert"}, "inwert.*invert"),
    "pool": ({"pool": "nowhere"}, "nowhere"),
    "backend": ({"backend": "cloud"}, "cloud.*host"),
    "batch": ({"batch": "record"}, "record.*messages, records"),
    "backpressure": ({"backpressure": "drop"}, "drop.*drop-oldest"),
    "wait": ({"wait": "nap"}, "nap.*sleep"),
    "executor": ({"executor": "fast"}, "fast.*stream"),
    "mirror": ({"mirror": "half"}, "half.*full"),
    "on_server_death": ({"calls": 1, "on_server_death": "cry"}, "cry.*redeliver"),
    "records without slots": ({"batch": "records", "slots": 0}, "slots"),
    "result_schema": ({"result_schema": "u64"}, "handler|calls"),
    "a handler's file": ({"handler": "/nowhere/handler.cpp"}, "/nowhere/handler.cpp"),
}


@pytest.mark.parametrize(("options", "text"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_is_refused_and_the_text_says_why(broker, options, text):
    with pytest.raises((ipcq.UsageError, ipcq.NotFoundError), match=rf"(?s)({text})"):
        broker.create("new", **options)
    assert [queue.name for queue in broker.stats().queues] == ["q"]


@pytest.mark.parametrize(
    "options",
    [
        {"slots": "many"},
        {"slots": -1},
        {"slots": 1.5},
        {"paused": "yes"},
        {"schema": 5},
        {"handler": 5},
        {"lines": 2**40},
    ],
    ids=repr,
)
def test_a_value_of_another_type_is_refused_and_the_text_names_queue_and_option(broker, options):
    option = next(iter(options))
    with pytest.raises((ipcq.UsageError, TypeError), match=rf"(?s)'new'.*{option}"):
        broker.create("new", **options)


@pytest.mark.parametrize("queue", ["", "no name", ".hidden", "-dash", "a/b", "x" * 64, "nul\0"])
def test_a_name_that_is_none_is_refused(broker, queue):
    with pytest.raises(ipcq.UsageError):
        broker.create(queue)
    with pytest.raises(ipcq.UsageError):
        broker.create_pool(queue)


def test_a_queue_has_as_many_endpoints_as_was_asked_for(broker, session):
    broker.create("few", endpoints=2)
    with session.producer("few"), session.consumer("few"), pytest.raises(ipcq.UsageError, match=r"endpoints|few"):
        session.producer("few")
    session.producer("few").close()


def test_metadata_has_room_for_arrays_only_where_there_are_slots_of_ones_own(broker):
    broker.create_pool("p", slots=2)
    broker.create("shared", pool="p")
    assert queue_stats(broker, "shared").metadata_bytes == 128
    broker.create_pool("none", slots=2, metadata=0)
    broker.create("bare", pool="none")
    assert queue_stats(broker, "bare").metadata_bytes == 0
