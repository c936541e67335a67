#include "producer.hpp"

#include <nanobind/stl/string.h>

#include <cstring>
#include <deque>
#include <ipcq/error.hpp>
#include <shared_mutex>
#include <vector>

#include "errors.hpp"
#include "session.hpp"

namespace ipcq::python {
namespace {

using namespace nb::literals;

constexpr std::size_t kLongCopy = std::size_t{64} << 10;  // other threads run meanwhile: some microseconds
constexpr std::size_t kRowsAtOnce = 256;

[[noreturn]] void not_sent(const ProducerState& state, Status status, const char* call, const Patience& patience,
                           std::size_t done = 0) {
  throw_status(status, {state.where(), call, patience.seconds(), done});
}

void send(ProducerObject& self, nb::handle data, nb::handle timeout) {
  const Patience patience(timeout);
  ProducerState& state = self.state();
  state.check_owner();
  const Bytes payload(data);
  const auto bytes = payload.bytes();
  const Status status = wait_for(state.turn(), patience, bytes.size() >= kLongCopy,
                                 [&](Duration left) { return state.producer().send(bytes, left); });
  if (status != Status::ok) not_sent(state, status, "send", patience);
}

bool try_send(ProducerObject& self, nb::handle data) {
  static const Patience none{nb::float_(0.0)};
  ProducerState& state = self.state();
  state.check_owner();
  const Bytes payload(data);
  const auto bytes = payload.bytes();
  const Status status = wait_for(state.turn(), none, bytes.size() >= kLongCopy,
                                 [&](Duration left) { return state.producer().send(bytes, left); });
  if (status == Status::full) return false;
  if (status != Status::ok) not_sent(state, status, "try_send", none);
  return true;
}

// Sends payloads in order; `done` counts them also where it throws.
std::size_t send_all(ProducerState& state, const std::vector<std::span<const std::byte>>& all,
                     const Patience& patience) {
  std::size_t done = 0;
  std::size_t bytes = 0;
  for (const auto& one : all) bytes += one.size();
  const Status status = wait_for(state.turn(), patience, bytes >= kLongCopy, [&](Duration left) {
    const BatchResult result = state.producer().send_many(std::span(all).subspan(done), left);
    done += result.count;
    return result.status;
  });
  if (status != Status::ok) not_sent(state, status, "send_many", patience, done);
  return done;
}

std::size_t send_many(ProducerObject& self, nb::handle batch, nb::handle timeout) {
  const Patience patience(timeout);
  ProducerState& state = self.state();
  state.check_owner();
  std::vector<std::span<const std::byte>> all;
  if (PyObject_CheckBuffer(batch.ptr()) != 0 && PyBytes_Check(batch.ptr()) == 0) {  // an array: each row is a message
    const Rows rows(batch);
    for (std::size_t i = 0; i < rows.count(); ++i) all.push_back(rows.row(i));
    return send_all(state, all, patience);
  }
  if (PyBytes_Check(batch.ptr()) != 0)
    throw nb::type_error("send_many() takes a list of payloads, or an array of rows");
  std::deque<Bytes> payloads;  // which do not move
  for (const nb::handle one : nb::iter(batch)) all.push_back(payloads.emplace_back(one).bytes());
  return send_all(state, all, patience);
}

// Where an array's shape goes: beside its payload, or before it in a queue of tensors.
enum class ShapePlace : std::uint8_t { beside, before };

ShapePlace shape_place(ProducerState& state) {
  const Turn::Taken taken(state.turn());
  const Producer& producer = state.producer();
  const bool has_tensors = producer.schema() == "tensor";
  if (producer.slot_bytes() != 0 && producer.metadata_bytes() >= sizeof(Tensor) &&
      (!has_tensors || producer.metadata_for_values() >= sizeof(Tensor)))
    return ShapePlace::beside;
  if (has_tensors) return ShapePlace::before;
  if (state.is_closed()) throw_status(Status::closed, {state.where(), "send_array"});
  throw UsageError(state.where() +
                   ": its messages have no room for an array's shape and element type: create it with " +
                   (producer.slot_bytes() == 0 ? "" : "metadata=128, or with ") +
                   "schema='tensor', or send the bytes alone by send(array)");
}

// The caller holds the endpoint (Held) until it has made an object of the loan.
Result<Loan> borrow(ProducerState& state, const Patience& patience) {
  return wait_for(state.turn(), patience, false, [&](Duration left) { return state.producer().loan(left); });
}

Status publish(ProducerState& state, Loan& loan, std::size_t length, const Patience& patience) {
  return wait_for(state.turn(), patience, false, [&](Duration left) { return loan.publish(length, left); });
}

void send_array(ProducerObject& self, nb::handle array, nb::handle timeout) {
  const Patience patience(timeout);
  ProducerState& state = self.state();
  state.check_owner();
  const Array from(array);
  ArrayLayout layout = ArrayLayout::contiguous(from.dtype(), from.shape());
  const bool is_before = shape_place(state) == ShapePlace::before;
  layout.at = is_before ? sizeof(Tensor) : 0;
  const std::size_t length = layout.at + layout.bytes();
  const Tensor tensor = layout.tensor();
  if (is_before && length <= state.producer().inline_bytes()) {
    std::vector<std::byte> payload(length);
    std::memcpy(payload.data(), &tensor, sizeof tensor);
    from.copy_to(std::span(payload).subspan(sizeof tensor));
    const Status sent =
        wait_for(state.turn(), patience, false, [&](Duration left) { return state.producer().send(payload, left); });
    if (sent != Status::ok) not_sent(state, sent, "send_array", patience);
    return;
  }
  const Held guard(state);
  Result<Loan> loan = borrow(state, patience);
  if (!loan) not_sent(state, loan.status(), "send_array", patience);
  LoanObject slot(self.shared(), std::move(*loan));  // goes back where something throws
  if (length > slot.loan().bytes().size()) not_sent(state, Status::too_large, "send_array", patience);
  if (is_before) {
    std::memcpy(slot.loan().bytes().data(), &tensor, sizeof tensor);
  } else if (slot.loan().set_metadata(std::as_bytes(std::span(&tensor, 1))) != Status::ok) {
    not_sent(state, Status::too_large, "send_array", patience);
  }
  slot.fill(from, layout.at, layout.bytes());
  const LoanObject::Going going(slot);
  const Status status = publish(state, slot.loan(), length, patience);
  if (status != Status::ok) not_sent(state, status, "send_array", patience);
}

LoanObject loan(ProducerObject& self, nb::handle timeout, nb::handle shape, nb::handle dtype) {
  const Patience patience(timeout);
  ProducerState& state = self.state();
  state.check_owner();
  std::optional<ArrayLayout> layout;
  if (!shape.is_none()) {
    layout = ArrayLayout::contiguous(parse_dtype(dtype), parse_shape(shape));
    if (shape_place(state) == ShapePlace::before) layout->at = sizeof(Tensor);
  }
  const Held guard(state);
  Result<Loan> borrowed = borrow(state, patience);
  if (!borrowed) not_sent(state, borrowed.status(), "loan", patience);
  LoanObject slot(self.shared(), std::move(*borrowed));
  if (layout) {
    if (layout->at + layout->bytes() > slot.loan().bytes().size()) not_sent(state, Status::too_large, "loan", patience);
    slot.set_layout(*layout);
  }
  return slot;
}

struct Forwarded {
  explicit Forwarded(MessageObject& forwarded) : message(forwarded) { message.begin_forward(); }
  Forwarded(const Forwarded&) = delete;
  Forwarded& operator=(const Forwarded&) = delete;
  ~Forwarded() { message.end_forward(); }
  MessageObject& message;
};

void forward(ProducerObject& self, MessageObject& message, nb::handle timeout) {
  const Patience patience(timeout);
  ProducerState& state = self.state();
  state.check_owner();
  const Forwarded forwarded(message);
  const Status status = wait_for(state.turn(), patience, true, [&](Duration left) {
    const std::shared_lock end(message.consumer().ends());
    return state.producer().forward(message.message(), left);
  });
  if (status != Status::ok) not_sent(state, status, "forward", patience);
}

template <class Get>
auto ask(ProducerObject& self, Get&& get) {
  self.state().check_owner();
  const Turn::Taken taken(self.state().turn());
  return get(self.state().producer());
}

void construct(ProducerObject* self, SessionObject& session, const std::string& queue, const std::string& wait,
               nb::handle wait_for, const std::string& schema, bool cuda) {
  ProducerOptions options;
  options.cuda = cuda;
  options.wait = parse_wait(wait);
  options.schema = schema;
  new (self)
      ProducerObject(open_endpoint<ProducerState>(session, queue, Patience(wait_for), [&](Session& of, Duration left) {
        options.wait_for = left;
        return of.producer(queue, options);
      }));
}

}  // namespace

ProducerState::~ProducerState() {
  leave_to_the_process(producer_);
  if (is_left_alone() || is_closed()) return;
  // As if its process had died: that a program has dropped it does not say that all was sent.
  const nb::error_scope in_flight;  // perhaps it is what drops it
  const std::string text =
      where() +
      ": a producer was dropped and not closed, so its stream has not ended: use it in a `with`, or call close()";
  if (PyErr_WarnEx(PyExc_ResourceWarning, text.c_str(), 1) != 0) PyErr_WriteUnraisable(nullptr);
  close(true);
}

void ProducerState::end(bool broken_off) noexcept {
  if (broken_off) {
    producer_.break_off();
  } else {
    producer_.close();
  }
}

void bind_producer(nb::module_& m) {
  bind_loan(m);
  nb::class_<ProducerObject>(m, "Producer", "Publishes messages to one queue. See ipcq.Producer.")
      .def("__init__", construct, "session"_a, "queue"_a, nb::kw_only(), "wait"_a = "hybrid", "wait_for"_a.none() = 0.0,
           "schema"_a = "", "cuda"_a = false,
           nb::sig("def __init__(self, session: Session, queue: str, *, wait: str = 'hybrid', "
                   "wait_for: float | None = 0.0, schema: str = '', cuda: bool = False) -> None"))
      .def("send", send, "data"_a, "timeout"_a.none() = nb::none(),
           nb::sig("def send(self, data: BufferLike, timeout: float | None = None) -> None"),
           "Sends a copy of a buffer's bytes (bytes, bytearray, memoryview, array) as one message.\n\n"
           "Waits for room as the queue's backpressure says; timeout in seconds, None: no limit, 0: not at all. Up to\n"
           "inline_bytes need no slot. Raises Full (timeout=0, or backpressure='reject'), TimeoutError, StatusError\n"
           "(too_large, unreachable), ClosedError, PeerDeadError, InterruptedError.")
      .def("try_send", try_send, "data"_a, nb::sig("def try_send(self, data: BufferLike) -> bool"),
           "Sends if there is room now. False: there is none. Raises as send().")
      .def(
          "send_many", send_many, "batch"_a, "timeout"_a.none() = nb::none(),
          nb::sig("def send_many(self, batch: Iterable[BufferLike] | BufferLike, timeout: float | None = None) -> int"),
          "Sends the payloads of a list, or the rows of an array, in order, and returns how many.\n\n"
          "With batch='records' they travel together, many in a slot. `timeout` is for all of them. Raises as send();\n"
          "`done` of the exception says how many were sent before.")
      .def("send_array", send_array, "array"_a, "timeout"_a.none() = nb::none(),
           nb::sig("def send_array(self, array: BufferLike, timeout: float | None = None) -> None"),
           "Sends an array with its shape and element type, by a copy of its elements (one after the other, the last\n"
           "dimension's first; strides may be any). numpy.asarray(message) has both again. They travel beside the\n"
           "payload, 128 bytes of the queue's `metadata`, or before it in a queue of schema='tensor'. Raises as "
           "send(),\n"
           "UsageError (the queue has room for neither), ValueError (an element type without a name in DLPack).")
      .def(
          "loan", loan, "timeout"_a.none() = nb::none(), nb::kw_only(), "shape"_a.none() = nb::none(),
          "dtype"_a = "uint8",
          nb::sig("def loan(self, timeout: float | None = None, *, shape: Sequence[int] | None = None, "
                  "dtype: object = 'uint8') -> Loan"),
          "Borrows a slot that you write in place; numpy.asarray(slot) shows it.\n\n"
          "shape, dtype: the slot is an array, and both travel with it as by send_array(). Else it is bytes. Waits "
          "for\n"
          "a slot as send(). Raises as send(), and StatusError (too_large): the queue has no slots, or the array does\n"
          "not fit into one.")
      .def(
          "forward", forward, "message"_a, "timeout"_a.none() = nb::none(),
          nb::sig("def forward(self, message: Message, timeout: float | None = None) -> None"),
          "Publishes a received message to this queue and releases it in its own, without a copy if both queues share\n"
          "a pool. Raises as send(), and it stays held then; BufferError: views of it are alive.")
      .def(
          "close", [](ProducerObject& self) { self.state().close(false); },
          "Ends this producer's stream: consumers that have received everything come to its end. Waits for the "
          "broker's\n"
          "answer, 10 s at most. Idempotent. A producer that is never closed has not ended its stream.")
      .def(
          "break_off", [](ProducerObject& self) { self.state().close(true); },
          "Closes without ending the stream, as its death would: consumers wait for another producer.")
      .def(
          "__exit__",
          [](ProducerObject& self, nb::handle type, nb::handle value, nb::handle) {
            self.state().close(has_failed(type, value));
          },
          "type"_a.none(), "value"_a.none(), "traceback"_a.none(),
          "close(); break_off() where an exception leaves the block, but for sys.exit() without an error.")
      .def_prop_ro(
          "closed", [](const ProducerObject& self) { return self.state().is_closed(); },
          "Whether it was closed, by itself or with its session.")
      .def_prop_ro(
          "queue", [](const ProducerObject& self) { return self.state().queue(); }, "Name of its queue.")
      .def_prop_ro(
          "id", [](ProducerObject& self) { return ask(self, [](Producer& p) { return p.id(); }); },
          "As Message.producer shows it; 0 once it is closed.")
      .def_prop_ro(
          "max_bytes", [](ProducerObject& self) { return ask(self, [](Producer& p) { return p.max_bytes(); }); },
          "Largest message in bytes.")
      .def_prop_ro(
          "slot_bytes", [](ProducerObject& self) { return ask(self, [](Producer& p) { return p.slot_bytes(); }); },
          "Capacity of a slot in bytes; 0: the queue has none.")
      .def_prop_ro(
          "inline_bytes", [](ProducerObject& self) { return ask(self, [](Producer& p) { return p.inline_bytes(); }); },
          "Largest message in bytes that needs no slot.")
      .def_prop_ro(
          "metadata_bytes",
          [](ProducerObject& self) { return ask(self, [](Producer& p) { return p.metadata_bytes(); }); },
          "Most bytes that a message in a slot can have beside its payload.")
      .def_prop_ro(
          "schema", [](ProducerObject& self) { return ask(self, [](Producer& p) { return p.schema(); }); },
          "The type of the queue's messages, as text; empty: any bytes.");
}

}  // namespace ipcq::python
