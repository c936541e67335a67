// ipcq.Message: a received message, as Python holds it. Its views (memoryview, NumPy arrays) keep it held.
#pragma once

#include <nanobind/nanobind.h>

#include <ipcq/consumer.hpp>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <string>

#include "array_layout.hpp"
#include "dlpack.hpp"
#include "lifetime.hpp"
#include "shown.hpp"

namespace ipcq::python {

class ConsumerState final : public EndpointState {
 public:
  ConsumerState(std::shared_ptr<SessionState> session, std::string queue, Consumer consumer)
      : EndpointState(std::move(session), std::move(queue)), consumer_(std::move(consumer)) {}
  ~ConsumerState() override;

  Consumer& consumer() noexcept { return consumer_; }
  // Messages end in any thread, but not while their consumer is being closed: their ends share this.
  std::shared_mutex& ends() noexcept { return ends_; }
  // Whether payloads begin with their tensor: the queue's type is `tensor`.
  bool has_tensors();

 private:
  void end(bool broken_off) noexcept override;
  void forget() noexcept override { consumer_ = Consumer(); }

  Consumer consumer_;
  std::shared_mutex ends_;
};

class MessageObject {
 public:
  MessageObject(std::shared_ptr<ConsumerState> consumer, Message message);
  MessageObject(MessageObject&&) noexcept;
  MessageObject& operator=(MessageObject&&) = delete;
  ~MessageObject();

  ConsumerState& consumer() const noexcept { return *consumer_; }
  const Message& message() const noexcept { return message_; }
  Message& message() noexcept { return message_; }
  bool is_held() const noexcept {
    return !is_going_ && static_cast<bool>(message_) && after_views_ == AfterViews::nothing &&
           !consumer_->is_closed() && !consumer_->is_inherited();
  }
  // Throws UsageError if it is held no more.
  void check_held() const;

  // Ends it. Throws BufferError, and it stays held, while views of it are alive.
  void release();
  void nack();
  // The same at once, or with its last view: at the end of a loop's step or by an exception, where a caller cannot help
  // that a view is alive.
  void release_after_views() noexcept {
    if (!detached_) end_after_views(AfterViews::release);
  }
  void nack_after_views() noexcept {
    if (!detached_) end_after_views(AfterViews::nack);
  }
  // From now on it is released with its last view, and by nothing else.
  void detach();
  bool is_detached() const noexcept { return detached_; }

  // For who ends it otherwise, without the GIL: throws as release(). Meanwhile nobody else ends it.
  void begin_forward() {
    check_held();
    check_no_views("forward");
    is_going_ = true;
  }
  void end_forward() noexcept {
    is_going_ = false;
    if (!message_) held_.end();
  }

  // Elements as the message's producer has described them, or its bytes.
  const ArrayLayout& layout();
  nb::bytes to_bytes();
  // Calls copy(bytes) with a view meanwhile: it may let the GIL go.
  template <class Copy>
  auto copy_out(Copy&& copy) {
    check_held();
    const ViewGuard view(*this);
    return copy(message_.bytes());
  }
  // Releases a message that is no object yet, or gives it back.
  static void end_of(ConsumerState& consumer, Message& message, bool gives_back) noexcept;

  int get_buffer(Py_buffer* view, PyObject* self, int flags) noexcept;
  nb::object to_dlpack(nb::handle self, const DlpackRequest& request);
  void begin_view() noexcept;
  void release_buffer() noexcept;

 private:
  enum class AfterViews : std::uint8_t { nothing, release, nack };
  void end_after_views(AfterViews how) noexcept;
  void end(AfterViews how) noexcept;
  void check_no_views(const char* call) const;
  const char* why_not_shown() const noexcept;  // null: it is

  std::shared_ptr<ConsumerState> consumer_;
  Held held_;
  Message message_;
  std::optional<ArrayLayout> layout_;
  std::size_t views_ = 0;
  AfterViews after_views_ = AfterViews::nothing;
  bool detached_ = false;
  bool is_going_ = false;  // within a forward
};

void bind_message(nb::module_& m);

}  // namespace ipcq::python
