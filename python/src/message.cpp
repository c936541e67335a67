#include "message.hpp"

#include <nanobind/stl/string.h>

#include <cstring>
#include <ipcq/error.hpp>
#include <mutex>
#include <utility>

#include "errors.hpp"
#include "interpreter.hpp"

namespace ipcq::python {
namespace {

using namespace nb::literals;

// Holds the lock of a thread that has the GIL, which it lets go only where it has to wait.
class SharedEnd {
 public:
  explicit SharedEnd(std::shared_mutex& mutex) : mutex_(mutex) {
    if (mutex_.try_lock_shared()) return;
    const ReleasedGil released;
    mutex_.lock_shared();
  }
  SharedEnd(const SharedEnd&) = delete;
  SharedEnd& operator=(const SharedEnd&) = delete;
  ~SharedEnd() { mutex_.unlock_shared(); }

 private:
  std::shared_mutex& mutex_;
};

}  // namespace

ConsumerState::~ConsumerState() {
  leave_to_the_process(consumer_);
  if (!is_left_alone()) close(true);
}

void ConsumerState::end(bool) noexcept {
  const std::unique_lock lock(ends_);
  consumer_.close();
}

bool ConsumerState::has_tensors() {
  const SharedEnd end(ends_);
  return consumer_.schema() == "tensor";
}

MessageObject::MessageObject(std::shared_ptr<ConsumerState> consumer, Message message)
    : consumer_(std::move(consumer)), held_(*consumer_), message_(std::move(message)) {}

MessageObject::MessageObject(MessageObject&& other) noexcept = default;

MessageObject::~MessageObject() {
  leave_to_the_process(message_);
  if (consumer_ == nullptr || !message_ || consumer_->is_left_alone()) return;
  end(after_views_ == AfterViews::nack ? AfterViews::nack : AfterViews::release);
}

void MessageObject::check_held() const {
  consumer_->check_owner();
  if (!is_held())
    throw UsageError(consumer_->where() +
                     ": the message is not held any more: it was released, given back or forwarded, or its consumer is "
                     "closed");
}

void MessageObject::check_no_views(const char* call) const {
  if (views_ == 0) return;
  throw nb::buffer_error(
      (consumer_->where() + ": " + call + ": " + count_views(views_) +
       " alive of the message, and would show another message's bytes: delete the arrays "
       "that were made of it, copy what you keep, or call detach(), by which the message is released "
       "with its last view")
          .c_str());
}

void MessageObject::release() {
  if (detached_) return;
  check_held();
  check_no_views("release");
  end(AfterViews::release);
}

void MessageObject::nack() {
  check_held();
  check_no_views("nack");
  end(AfterViews::nack);
}

void MessageObject::detach() {
  check_held();
  detached_ = true;
}

void MessageObject::end_after_views(AfterViews how) noexcept {
  if (!is_held()) return;
  if (views_ == 0) {
    end(how);
  } else {
    after_views_ = how;
  }
}

void MessageObject::end(AfterViews how) noexcept {
  end_of(*consumer_, message_, how == AfterViews::nack);
  held_.end();
}

void MessageObject::end_of(ConsumerState& consumer, Message& message, bool gives_back) noexcept {
  const SharedEnd end(consumer.ends());
  if (gives_back) {
    (void)message.nack();
  } else {
    (void)message.release();
  }
}

const ArrayLayout& MessageObject::layout() {
  if (layout_) return *layout_;
  const std::span<const std::byte> payload = message_.bytes();
  const std::span<const std::byte> metadata = message_.metadata();
  Tensor tensor;
  if (metadata.size() == sizeof tensor) {
    std::memcpy(&tensor, metadata.data(), sizeof tensor);
    ipcq::detail::keep_copy(tensor);
    layout_ = ArrayLayout::of_tensor(tensor, payload.size());
  } else if (consumer_->has_tensors() && payload.size() >= sizeof tensor) {
    std::memcpy(&tensor, payload.data(), sizeof tensor);
    ipcq::detail::keep_copy(tensor);
    layout_ = ArrayLayout::of_tensor(tensor, payload.size());
  }
  if (!layout_) layout_ = ArrayLayout::of_bytes(payload.size());
  return *layout_;
}

nb::bytes MessageObject::to_bytes() {
  return copy_out([](std::span<const std::byte> payload) { return copy_bytes(payload); });
}

const char* MessageObject::why_not_shown() const noexcept {
  if (!is_held()) return "the message is not held any more: it was released, given back or forwarded";
  if (message_.bytes().size() != message_.length())
    return "the payload is in device memory alone, which the CPU cannot read: receive it with cuda=True, or create the "
           "queue with mirror='full' and host_readable=True";
  return nullptr;
}

nb::object MessageObject::to_dlpack(nb::handle self, const DlpackRequest& request) {
  if (const char* const why = why_not_shown()) throw nb::buffer_error(why);
  nb::object capsule = export_dlpack(
      self, [](PyObject* owner) { nb::inst_ptr<MessageObject>(owner)->release_buffer(); },
      const_cast<std::byte*>(message_.bytes().data()), layout(), {}, true, request);
  begin_view();
  return capsule;
}

int MessageObject::get_buffer(Py_buffer* view, PyObject* self, int flags) noexcept {
  view->obj = nullptr;
  if (const char* const why = why_not_shown()) return refuse_buffer(view, why);
  layout();
  auto* const payload = const_cast<std::byte*>(message_.bytes().data());
  const int result = fill_buffer(view, self, payload, *layout_, true, flags);
  if (result == 0) begin_view();
  return result;
}

void MessageObject::begin_view() noexcept {
  ++views_;
  consumer_->begin_view();
}

void MessageObject::release_buffer() noexcept {
  if (--views_ == 0 && message_ && !consumer_->is_left_alone()) {
    if (after_views_ != AfterViews::nothing) {
      end(std::exchange(after_views_, AfterViews::nothing));
    } else if (detached_) {
      end(AfterViews::release);
    }
  }
  consumer_->end_view();
}

void bind_message(nb::module_& m) {
  auto of = nb::class_<MessageObject>(
      m, "Message", nb::type_slots(buffer_slots<MessageObject>()), nb::is_final(),
      "A received message, which no other member of the consumer's group gets while it is held.\n\n"
      "memoryview(m), numpy.asarray(m) and bytes(m) show its payload, without a copy but for the\n"
      "last; an array that was sent with its shape and element type is shown so. Views are\n"
      "read-only and keep the message: release() raises BufferError while one is alive.\n"
      "As a context manager it is released at the end, or given back by an exception. A message\n"
      "that Python drops is released. Usable from any thread.");
  bind_host_arrays<MessageObject>(of);
  of.def("__enter__",
         [](nb::object self) {
           nb::cast<MessageObject&>(self).check_held();
           return self;
         })
      .def(
          "__exit__",
          [](MessageObject& self, nb::handle type, nb::handle, nb::handle) {
            if (!self.is_held() || self.is_detached()) return;
            if (type.is_none()) {
              self.release();
            } else {
              self.nack_after_views();
            }
          },
          "type"_a.none(), "value"_a.none(), "traceback"_a.none(),
          "Releases the message; gives it back where an exception leaves the block.")
      .def("release", &MessageObject::release,
           "Releases the message: its slot becomes free once every group has released it. Does not wait.\n"
           "Raises BufferError: views of it are alive, and it stays held. UsageError: it is held no more. Without "
           "effect\n"
           "after detach().")
      .def("nack", &MessageObject::nack,
           "Gives the message back: the next receive of any member of the group takes it, before newer ones.\n"
           "Does not wait. Raises as release().")
      .def(
          "detach",
          [](nb::object self) {
            nb::cast<MessageObject&>(self).detach();
            return self;
          },
          "From now on the message is released with its last view, not at the end of a `with` or of a loop's step.\n"
          "Returns the message itself: `array = numpy.asarray(m.detach())` lives as long as you keep it, and the slot\n"
          "is in use that long.")
      .def("tobytes", &MessageObject::to_bytes, "A copy of the payload.")
      .def("__bytes__", &MessageObject::to_bytes)
      .def("__len__", [](const MessageObject& self) { return self.message().length(); })
      .def_prop_ro("held", &MessageObject::is_held, "Whether it is still held: views of it can be made.")
      .def_prop_ro(
          "nbytes", [](const MessageObject& self) { return self.message().length(); }, "Size of the payload in bytes.")
      .def_prop_ro(
          "shape",
          [](MessageObject& self) {
            self.check_held();
            return shape_of(self.layout());
          },
          nb::sig("def shape(self) -> tuple[int, ...]"),
          "Of the array that was sent, in elements; of bytes, their number.")
      .def_prop_ro(
          "dtype",
          [](MessageObject& self) {
            self.check_held();
            return name_of(self.layout().dtype);
          },
          "Name of the elements' type, such as 'float32'; 'uint8' of bytes.")
      .def_prop_ro(
          "metadata",
          [](const MessageObject& self) {
            self.check_held();
            const auto metadata = self.message().metadata();
            return nb::bytes(metadata.data(), metadata.size());
          },
          "A copy of what the producer has put beside the payload; empty: nothing.")
      .def_prop_ro(
          "sequence", [](const MessageObject& self) { return self.message().sequence(); },
          "Number of this message among those of its producer, from 0.")
      .def_prop_ro(
          "producer", [](const MessageObject& self) { return self.message().producer(); },
          "Id of the producer, unique while it is attached.")
      .def_prop_ro(
          "ticket", [](const MessageObject& self) { return self.message().ticket(); },
          "Place in the queue's order: grows by one a message. Of a record that of its batch.")
      .def_prop_ro(
          "record", [](const MessageObject& self) { return self.message().record(); },
          "Place of this record in its batch, from 0; 0 of a message that is no record.")
      .def_prop_ro(
          "redeliveries", [](const MessageObject& self) { return self.message().redeliveries(); },
          "How often the message was delivered before; 0 at the first delivery.")
      .def_prop_ro(
          "published_at_ns", [](const MessageObject& self) { return self.message().published_at_ns(); },
          "When it was published, in ns of time.monotonic_ns(); 0 of a message that needed no slot.")
      .def_prop_ro(
          "processed", [](const MessageObject& self) { return self.message().processed(); },
          "False if the queue's handler refused the payload, or failed on it.")
      .def_prop_ro(
          "failed", [](const MessageObject& self) { return self.message().failed(); },
          "True if the queue's handler failed on the payload, which it may have changed in part.")
      .def_prop_ro(
          "failure", [](const MessageObject& self) { return self.message().failure(); },
          "The code with which the handler failed, 1 to 255; 0: it threw or died, or has not failed.")
      .def("__repr__", [](MessageObject& self) {
        const std::string text = "<ipcq.Message of '" + self.consumer().queue() + "', ";
        if (!self.is_held()) return text + "not held>";
        return text + "ticket " + std::to_string(self.message().ticket()) + ", " +
               std::to_string(self.message().length()) + " bytes>";
      });
}

}  // namespace ipcq::python
