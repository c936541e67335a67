#include "consumer.hpp"

#include <nanobind/stl/string.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <utility>
#include <vector>

#include "errors.hpp"
#include "session.hpp"

namespace ipcq::python {
namespace {

using namespace nb::literals;

constexpr std::size_t kMostAtOnce = 256;  // as receive_many() and consume() have it

[[noreturn]] void no_message(const ConsumerState& state, Status status, const char* call, const Patience& patience,
                             std::size_t done = 0) {
  throw_status(status, {state.where(), call, patience.seconds(), done});
}

std::size_t checked_limit(std::size_t limit) {
  if (limit == 0) throw nb::value_error("limit: at least 1 message is to be received");
  return std::min(limit, kMostAtOnce);
}

nb::object receive(ConsumerObject& self, nb::handle timeout) {
  const Patience patience(timeout);
  Result<Message> message = self.receive(patience);
  if (!message) no_message(self.state(), message.status(), "receive", patience);
  return nb::cast(MessageObject(self.shared(), std::move(*message)));
}

// None: there was none within that time.
nb::object message_within(const ConsumerObject& self, const Patience& patience) {
  Result<Message> message = self.receive(patience);
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
  self.state().check_owner();
  std::vector<Message> messages(checked_limit(limit));
  const BatchResult result = wait_for(self.state().turn(), patience, false, [&](Duration left) {
    return self.state().consumer().receive_many(messages, left);
  });
  if (result.count == 0) no_message(self.state(), result.status, "receive_many", patience);
  nb::list list;
  for (std::size_t i = 0; i < result.count; ++i) list.append(MessageObject(self.shared(), std::move(messages[i])));
  return list;
}

// Copies payloads out one behind the other, as their lines and slots have them.
struct Copies {
  std::vector<std::byte> bytes;
  std::vector<std::size_t> ends;
};

// Copies up to `limit` messages, and is done with them.
BatchResult take_copies(ConsumerObject& self, std::size_t limit, const Patience& patience, Copies& copies) {
  bool is_unreachable = false;
  const auto copy = [&](const MessageView& view) {
    is_unreachable = view.bytes().size() != view.length();
    if (is_unreachable) throw Status::unreachable;  // it goes back
    copies.bytes.insert(copies.bytes.end(), view.bytes().begin(), view.bytes().end());
    copies.ends.push_back(copies.bytes.size());
  };
  return wait_for(self.state().turn(), patience, false, [&](Duration left) {
    try {
      return self.state().consumer().consume(copy, left, limit);
    } catch (Status) {
      return BatchResult{Status::unreachable, copies.ends.size()};
    }
  });
}

nb::bytes receive_bytes(ConsumerObject& self, nb::handle timeout) {
  const Patience patience(timeout);
  self.state().check_owner();
  std::array<std::byte, 2048> buffer;  // any message that needs no slot
  Message large;
  std::size_t length = 0;
  // What does not fit is held meanwhile.
  const Status status = wait_for(self.state().turn(), patience, false, [&](Duration left) {
    const Result<MessageView> view = self.state().consumer().receive_into(buffer, left);
    length = view ? view->bytes().size() : 0;
    if (view.status() != Status::too_large) return view.status();
    Result<Message> message = self.state().consumer().receive(left);
    large = std::move(*message);
    return message.status();
  });
  if (status != Status::ok) no_message(self.state(), status, "receive_bytes", patience);
  if (!large) return nb::bytes(buffer.data(), length);
  MessageObject message(self.shared(), std::move(large));
  if (message.message().bytes().size() != message.message().length()) {
    message.nack();
    no_message(self.state(), Status::unreachable, "receive_bytes", patience);
  }
  return message.to_bytes();  // released when this ends
}

nb::list receive_records(ConsumerObject& self, std::size_t limit, nb::handle timeout) {
  const Patience patience(timeout);
  self.state().check_owner();
  Copies copies;
  const BatchResult result = take_copies(self, checked_limit(limit), patience, copies);
  if (copies.ends.empty()) no_message(self.state(), result.status, "receive_records", patience);
  nb::list list;
  std::size_t begin = 0;
  for (const std::size_t end : copies.ends) {
    list.append(nb::bytes(copies.bytes.data() + begin, end - begin));
    begin = end;
  }
  return list;
}

std::size_t receive_into(ConsumerObject& self, nb::handle buffer, nb::handle timeout) {
  const Patience patience(timeout);
  self.state().check_owner();
  const WritableBytes to(buffer);
  std::size_t length = 0;
  const Status status = wait_for(self.state().turn(), patience, false, [&](Duration left) {
    const Result<MessageView> view = self.state().consumer().receive_into(to.bytes(), left);
    length = view ? view->bytes().size() : 0;
    return view.status();
  });
  if (status != Status::ok) no_message(self.state(), status, "receive_into", patience);
  return length;
}

// The message of a loop's present step: it is released when the next is asked for, or goes back where an exception has
// ended the loop.
class LoopStep {
 public:
  LoopStep() noexcept = default;
  LoopStep(LoopStep&&) noexcept = default;
  LoopStep& operator=(LoopStep&&) = delete;
  ~LoopStep() {
    // Python destroys a loop's iterator while the exception that ends the loop is on its way; after a `break` there is
    // none, and the message is its name's.
    if (message_.is_valid() && PyErr_Occurred() != nullptr) message().nack_after_views();
  }

  void end() {
    if (!message_.is_valid()) return;
    message().release_after_views();
    message_.reset();
  }
  void begin(nb::object message) noexcept { message_ = std::move(message); }

 private:
  MessageObject& message() const { return *nb::inst_ptr<MessageObject>(message_); }
  nb::object message_;
};

// The messages until the end of the stream.
class MessageIterator {
 public:
  explicit MessageIterator(std::shared_ptr<ConsumerState> state) : consumer_(std::move(state)) {}

  nb::object next() {
    step_.end();
    static const Patience forever{nb::none()};
    Result<Message> message = consumer_.receive(forever);
    if (message.status() == Status::end) throw nb::stop_iteration();
    if (!message) no_message(consumer_.state(), message.status(), "iteration", forever);
    nb::object next = nb::cast(MessageObject(consumer_.shared(), std::move(*message)));
    step_.begin(next);
    return next;
  }

 private:
  ConsumerObject consumer_;
  LoopStep step_;
};

void bind_iterator(nb::module_& m) {
  nb::class_<MessageIterator>(m, "MessageIterator", nb::is_final(), "Iterates over a consumer's messages.")
      .def(
          "__iter__", [](nb::object self) { return self; }, nb::sig("def __iter__(self) -> MessageIterator"))
      .def("__next__", &MessageIterator::next, nb::sig("def __next__(self) -> Message"));
  nb::class_<LoopStep>(m, "LoopStep", nb::is_final(), "For iterators in Python: what has the message of a loop's step.")
      .def(nb::init<>())
      .def("end", &LoopStep::end, "Before the next is asked for.")
      .def(
          "begin",
          [](LoopStep& self, nb::object message) {
            (void)nb::cast<MessageObject&>(message);  // checks its type
            self.begin(std::move(message));
          },
          "message"_a, nb::sig("def begin(self, message: Message) -> None"));
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

Result<Message> ConsumerObject::receive(const Patience& patience) const {
  state_->check_owner();
  return wait_for(state_->turn(), patience, false, [&](Duration left) { return state_->consumer().receive(left); });
}

void bind_consumer(nb::module_& m) {
  bind_iterator(m);
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
           nb::sig("def receive_into(self, buffer: Buffer, timeout: float | None = None) -> int"),
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
      .def_prop_ro("closed", [](const ConsumerObject& self) { return self.state().is_closed(); })
      .def_prop_ro("queue", [](const ConsumerObject& self) { return self.state().queue(); })
      .def_prop_ro(
          "schema",
          [](const ConsumerObject& self) {
            const Turn::Taken taken(self.state().turn());
            return self.state().consumer().schema();
          },
          "The type of what it receives, as text; empty: any bytes.")
      .def_prop_ro(
          "metadata_for_values",
          [](const ConsumerObject& self) {
            const Turn::Taken taken(self.state().turn());
            return self.state().consumer().metadata_for_values();
          },
          "Of the bytes that a message can have beside its payload, what is there for typed values.")
      .def_prop_ro("metadata_bytes", [](const ConsumerObject& self) {
        const Turn::Taken taken(self.state().turn());
        return self.state().consumer().metadata_bytes();
      });
}

}  // namespace ipcq::python
