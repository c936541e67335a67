#include "consumer.hpp"

#include <nanobind/stl/string.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "errors.hpp"
#include "message_iterator.hpp"
#include "receiving.hpp"
#include "session.hpp"

namespace ipcq::python {
namespace {

using namespace nb::literals;

constexpr std::size_t kMostAtOnce = 256;  // as receive_many() and consume() have it

[[noreturn]] void no_message(const ConsumerState& state, Status status, const char* call, const Patience& patience) {
  throw_status(status, {state.where(), call, patience.seconds()});
}

std::size_t checked_limit(std::size_t limit) {
  if (limit == 0) throw nb::value_error("limit: at least 1 message is to be received");
  return std::min(limit, kMostAtOnce);
}

// Up to as many messages as there is room for. Waits for the first alone.
BatchResult take_many(ConsumerObject& self, std::vector<Message>& messages, const Patience& patience) {
  ConsumerState& state = self.state();
  state.check_owner();
  return wait_for(
      state.turn(), patience, false, [&](Duration left) { return state.consumer().receive_many(messages, left); },
      [&](const BatchResult&) {
        // The youngest first: what is given back comes in that order's reverse.
        for (auto message = messages.rbegin(); message != messages.rend(); ++message) {
          if (*message) MessageObject::end_of(state, *message, true);
        }
      });
}

nb::object receive(ConsumerObject& self, nb::handle timeout) {
  const Patience patience(timeout);
  const Held guard(self.state());
  Result<Message> message = receive_message(self.state(), patience);
  if (!message) no_message(self.state(), message.status(), "receive", patience);
  return nb::cast(MessageObject(self.shared(), std::move(*message)));
}

// None: there was none within that time.
nb::object message_within(const ConsumerObject& self, const Patience& patience) {
  const Held guard(self.state());
  Result<Message> message = receive_message(self.state(), patience);
  if (message.status() == Status::empty || message.status() == Status::timeout) return nb::none();
  if (!message) no_message(self.state(), message.status(), "try_receive", patience);
  return nb::cast(MessageObject(self.shared(), std::move(*message)));
}

nb::object try_receive(ConsumerObject& self) {
  static const Patience none{nb::float_(0.0)};
  return message_within(self, none);
}

nb::list receive_many(ConsumerObject& self, std::size_t limit, nb::handle timeout) {
  const Patience patience(timeout);
  const Held guard(self.state());
  std::vector<Message> messages(checked_limit(limit));
  const BatchResult result = take_many(self, messages, patience);
  if (result.count == 0) no_message(self.state(), result.status, "receive_many", patience);
  nb::list list;
  for (std::size_t i = 0; i < result.count; ++i) list.append(MessageObject(self.shared(), std::move(messages[i])));
  return list;
}

// One payload, read in the queue where it is there at once. What has to be waited for is held, so that it can go back.
// `copy(bytes)` takes it, and says ok or too_large, with which it goes back.
template <class Copy>
Status take_copy(ConsumerObject& self, std::span<std::byte> buffer, const Patience& patience, Copy&& copy) {
  ConsumerState& state = self.state();
  state.check_owner();
  const Held guard(state);
  static const Patience none{nb::float_(0.0)};
  std::size_t length = 0;
  const Status at_once = wait_for(state.turn(), none, false, [&](Duration) {
    const Result<MessageView> view = state.consumer().receive_into(buffer, Duration::zero());
    length = view ? view->bytes().size() : 0;
    return view.status();
  });
  if (at_once == Status::ok) return copy(std::span<const std::byte>(buffer).first(length));
  const bool waits = at_once == Status::empty && !patience.is_zero();
  if (!waits && at_once != Status::too_large) return at_once;
  Result<Message> held = receive_message(self.state(), patience);
  if (!held) return held.status();
  MessageObject message(self.shared(), std::move(*held));
  const Status status =
      message.message().bytes().size() == message.message().length() ? message.copy_out(copy) : Status::unreachable;
  if (status != Status::ok) message.nack();
  return status;  // it is released when this ends
}

nb::bytes receive_bytes(ConsumerObject& self, nb::handle timeout) {
  const Patience patience(timeout);
  std::array<std::byte, 2048> buffer;  // any message that needs no slot
  nb::object copy;
  const Status status = take_copy(self, buffer, patience, [&](std::span<const std::byte> bytes) {
    copy = copy_bytes(bytes);
    return Status::ok;
  });
  if (status != Status::ok) no_message(self.state(), status, "receive_bytes", patience);
  return nb::borrow<nb::bytes>(copy);
}

// What is there, read in the queue.
nb::list records_at_once(ConsumerObject& self, std::size_t limit, BatchResult& result) {
  static const Patience none{nb::float_(0.0)};
  std::vector<std::byte> bytes;
  std::vector<std::size_t> ends;
  const auto copy = [&](const MessageView& view) {
    if (view.bytes().size() != view.length()) throw Status::unreachable;  // it goes back
    bytes.insert(bytes.end(), view.bytes().begin(), view.bytes().end());
    ends.push_back(bytes.size());
  };
  result = wait_for(self.state().turn(), none, false, [&](Duration left) {
    try {
      return self.state().consumer().consume(copy, left, limit);
    } catch (Status) {
      return BatchResult{Status::unreachable, ends.size()};
    }
  });
  nb::list list;
  std::size_t begin = 0;
  for (const std::size_t end : ends) {
    list.append(nb::bytes(bytes.data() + begin, end - begin));
    begin = end;
  }
  return list;
}

nb::list receive_records(ConsumerObject& self, std::size_t limit, nb::handle timeout) {
  const Patience patience(timeout);
  limit = checked_limit(limit);
  self.state().check_owner();
  const Held guard(self.state());
  BatchResult result;
  nb::list list = records_at_once(self, limit, result);
  if (nb::len(list) != 0) return list;
  if (result.status != Status::empty || patience.is_zero())
    no_message(self.state(), result.status, "receive_records", patience);
  // What has to be waited for is held, so that it can go back.
  std::vector<Message> messages(limit);
  result = take_many(self, messages, patience);
  if (result.count == 0) no_message(self.state(), result.status, "receive_records", patience);
  for (std::size_t i = 0; i < result.count; ++i) {
    MessageObject message(self.shared(), std::move(messages[i]));
    if (message.message().bytes().size() != message.message().length()) {
      message.nack();
      if (i == 0) no_message(self.state(), Status::unreachable, "receive_records", patience);
      continue;
    }
    list.append(message.to_bytes());
  }
  return list;
}

std::size_t receive_into(ConsumerObject& self, nb::handle buffer, nb::handle timeout) {
  const Patience patience(timeout);
  const WritableBytes to(buffer);
  std::size_t length = 0;
  const Status status = take_copy(self, to.bytes(), patience, [&](std::span<const std::byte> bytes) {
    if (bytes.size() > to.bytes().size()) return Status::too_large;
    if (bytes.data() != to.bytes().data() && !bytes.empty()) std::memcpy(to.bytes().data(), bytes.data(), bytes.size());
    length = bytes.size();
    return Status::ok;
  });
  if (status != Status::ok) no_message(self.state(), status, "receive_into", patience);
  return length;
}

void construct(ConsumerObject* self, SessionObject& session, const std::string& queue, const std::string& group,
               const std::string& wait, nb::handle wait_for, bool until_end, bool lossy, const std::string& schema,
               bool cuda) {
  ConsumerOptions options;
  options.cuda = cuda;
  options.group = group;
  options.wait = parse_wait(wait);
  options.until = until_end ? Until::end : Until::forever;
  options.lossy = lossy;
  options.schema = schema;
  const Patience patience(wait_for);
  const std::shared_ptr<SessionState> of = session.open();
  // Not in slices: what the consumer is opened with is also how long it waits for a stream that begins.
  Consumer consumer = run_interruptibly(*of, patience, [&](Duration left) {
    options.wait_for = left;
    return of->session().consumer(queue, options);
  });
  auto state = std::make_shared<ConsumerState>(of, queue, std::move(consumer));
  of->add(state);
  new (self) ConsumerObject(std::move(state));
}

}  // namespace

void bind_consumer(nb::module_& m) {
  nb::class_<ConsumerObject>(m, "Consumer", "Receives from one queue as a member of a group. See ipcq.Consumer.")
      .def("__init__", construct, "session"_a, "queue"_a, nb::kw_only(), "group"_a = "default", "wait"_a = "hybrid",
           "wait_for"_a.none() = 0.0, "until_end"_a = true, "lossy"_a = false, "schema"_a = "", "cuda"_a = false,
           nb::sig("def __init__(self, session: Session, queue: str, *, group: str = 'default', wait: str = 'hybrid', "
                   "wait_for: float | None = 0.0, until_end: bool = True, lossy: bool = False, schema: str = '', cuda: "
                   "bool = False) -> None"))
      .def("receive", receive, "timeout"_a.none() = nb::none(),
           nb::sig("def receive(self, timeout: float | None = None) -> Message"),
           "Takes the group's next message: the oldest that was given back, else the oldest not yet taken.\n\n"
           "timeout: seconds; None waits without limit, 0 not at all. Other threads run meanwhile, and signals are\n"
           "handled within 0.1 s. Raises Empty (timeout=0), TimeoutError, EndOfStream, ClosedError, PeerDeadError,\n"
           "InterruptedError; Full: this consumer holds as many messages as the queue's `held` allows.")
      .def("try_receive", try_receive, nb::sig("def try_receive(self) -> Message | None"),
           "The next message if there is one now, else None. Raises as receive().")
      .def(
          "_receive_within",
          [](ConsumerObject& self, nb::handle timeout) { return message_within(self, Patience(timeout)); }, "timeout"_a,
          nb::sig("def _receive_within(self, timeout: float) -> Message | None"))
      .def("receive_many", receive_many, "limit"_a = 64, "timeout"_a.none() = nb::none(),
           nb::sig("def receive_many(self, limit: int = 64, timeout: float | None = None) -> list[Message]"),
           "Takes up to `limit` messages (256 at most) that are there now, and waits only for the first.\n"
           "Raises as receive().")
      .def("receive_bytes", receive_bytes, "timeout"_a.none() = nb::none(),
           nb::sig("def receive_bytes(self, timeout: float | None = None) -> bytes"),
           "A copy of the next message's payload, with which the queue is done: nothing is to be released.\n"
           "The fastest way for small messages. Raises as receive(), and StatusError (unreachable): the payload is in\n"
           "device memory alone.")
      .def("receive_records", receive_records, "limit"_a = 256, "timeout"_a.none() = nb::none(),
           nb::sig("def receive_records(self, limit: int = 256, timeout: float | None = None) -> list[bytes]"),
           "Copies of up to `limit` payloads (256 at most) that are there now, with which the queue is done. Waits "
           "only\n"
           "for the first. Of a queue with batch='records' each record is one. Raises as receive_bytes().")
      .def("receive_into", receive_into, "buffer"_a, "timeout"_a.none() = nb::none(),
           nb::sig("def receive_into(self, buffer: BufferLike, timeout: float | None = None) -> int"),
           "Copies the next payload to the beginning of a writable buffer and returns its length in bytes. What the\n"
           "buffer has is unspecified unless a message came. Raises as receive_bytes(), and StatusError (too_large): "
           "the\n"
           "payload exceeds the buffer, and is the group's next as before.")
      .def(
          "fileno",
          [](ConsumerObject& self) {
            self.state().check_owner();
            const Turn::Taken taken(self.state().turn());
            return self.state().consumer().fd();
          },
          "A descriptor for event loops, readable while receive() may have something to return. It stays readable\n"
          "until a call has found nothing: call try_receive() until it returns None. It belongs to the consumer.\n"
          "Raises UsageError (closed), SystemError (Linux before 5.16).")
      .def(
          "__iter__", [](ConsumerObject& self) { return MessageIterator(self.shared()); },
          nb::sig("def __iter__(self) -> MessageIterator"),
          "The messages until the end of the stream. Each is released when the next is asked for (with its last view,\n"
          "where one is alive), and given back where an exception ends the loop. Raises ClosedError, PeerDeadError,\n"
          "InterruptedError, Full.")
      .def(
          "close", [](ConsumerObject& self) { self.state().close(false); },
          "Leaves the group, and gives back the messages still held. Ends the waits of other threads. Waits for the\n"
          "broker's answer, 10 s at most. Idempotent.")
      .def("__exit__", [](ConsumerObject& self, nb::args) { self.state().close(false); })
      .def_prop_ro(
          "closed", [](const ConsumerObject& self) { return self.state().is_closed(); },
          "Whether it was closed, by itself or with its session.")
      .def_prop_ro(
          "queue", [](const ConsumerObject& self) { return self.state().queue(); }, "Name of its queue.")
      .def_prop_ro(
          "schema",
          [](const ConsumerObject& self) {
            self.state().check_owner();
            const Turn::Taken taken(self.state().turn());
            return self.state().consumer().schema();
          },
          "The type of what it receives, as text; empty: any bytes.")
      .def_prop_ro(
          "metadata_for_values",
          [](const ConsumerObject& self) {
            self.state().check_owner();
            const Turn::Taken taken(self.state().turn());
            return self.state().consumer().metadata_for_values();
          },
          "Of the bytes that a message can have beside its payload, what is there for typed values.")
      .def_prop_ro(
          "metadata_bytes",
          [](const ConsumerObject& self) {
            self.state().check_owner();
            const Turn::Taken taken(self.state().turn());
            return self.state().consumer().metadata_bytes();
          },
          "Most bytes that a message in a slot can have beside its payload.");
}

}  // namespace ipcq::python
