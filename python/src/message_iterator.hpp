// Loops over a consumer's messages.
#pragma once

#include <nanobind/nanobind.h>

#include <memory>
#include <utility>

#include "message.hpp"

namespace ipcq::python {

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
  explicit MessageIterator(std::shared_ptr<ConsumerState> consumer) : consumer_(std::move(consumer)) {}

  // Throws StopIteration at the end of the stream.
  nb::object next();

 private:
  std::shared_ptr<ConsumerState> consumer_;
  LoopStep step_;
};

void bind_iterator(nb::module_& m);

}  // namespace ipcq::python
