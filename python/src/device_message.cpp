#include "device_message.hpp"

#include <nanobind/stl/string.h>

#include <cstring>
#include <ipcq/error.hpp>
#include <vector>

#include "errors.hpp"
#include "waiting.hpp"

namespace ipcq::python {
namespace {

std::string describe_views(const EndpointState& endpoint, const char* call, std::size_t views) {
  return endpoint.where() + ": " + call + ": " + count_views(views) +
         " alive by DLPack: delete the arrays that were made of it first, or call detach() of a message";
}

// Ends what a payload is to its streams; a context that has failed has nothing left to order.
void finish(DeviceUse& use, StreamOrder& order) noexcept {
  try {
    use.finish(order);
  } catch (const Error&) {  // NOLINT(bugprone-empty-catch): as above
  }
}

}  // namespace

DeviceMessage::DeviceMessage(std::shared_ptr<ConsumerState> consumer, std::shared_ptr<StreamOrder> order, DeviceUse use,
                             cuda::Message message)
    : consumer_(std::move(consumer)), order_(std::move(order)), use_(std::move(use)), message_(std::move(message)) {
  held_.begin(*consumer_);
}

DeviceMessage::~DeviceMessage() {
  leave_to_the_process(message_);
  if (consumer_ == nullptr || !message_ || consumer_->is_left_alone()) return;
  end();
}

void DeviceMessage::check_held() const {
  consumer_->check_owner();
  if (!is_held())
    throw UsageError(consumer_->where() +
                     ": the message is not held any more: it was released, or its consumer is closed");
}

const ArrayLayout& DeviceMessage::layout() {
  if (layout_) return *layout_;
  const auto metadata = message_.metadata();
  if (metadata.size() == sizeof(Tensor)) {
    Tensor tensor;
    std::memcpy(&tensor, metadata.data(), sizeof tensor);
    ipcq::detail::keep_copy(tensor);
    layout_ = ArrayLayout::of_tensor(tensor, message_.length());
  }
  if (!layout_) layout_ = ArrayLayout::of_bytes(message_.length());
  return *layout_;
}

nb::object DeviceMessage::to_dlpack(nb::handle self, nb::handle stream, const DlpackRequest& request) {
  check_held();
  bool no_order = false;
  const CUstream other = parse_dlpack_stream(stream, no_order);
  nb::object capsule = export_dlpack(
      self, [](PyObject* owner) { nb::inst_ptr<DeviceMessage>(owner)->release_view(); },
      const_cast<std::byte*>(message_.device()), layout(), {dlpack::kCuda, order_->device()}, true, request);
  ++views_;
  consumer_->begin_view();
  if (no_order) return capsule;
  const Turn::Taken taken(consumer_->turn());
  use_.begin_on(other, *order_);
  return capsule;
}

void DeviceMessage::begin_on(CUstream other) {
  check_held();
  const Turn::Taken taken(consumer_->turn());
  use_.begin_on(other, *order_);
}

nb::dict DeviceMessage::array_interface() {
  check_held();
  return cuda_array_interface(layout(), message_.device(), stream_number(use_.stream()), true);
}

void DeviceMessage::release() {
  if (detached_) return;
  check_held();
  if (views_ != 0) throw nb::buffer_error(describe_views(*consumer_, "release", views_).c_str());
  end();
}

void DeviceMessage::release_after_views() noexcept {
  if (!is_held() || detached_) return;
  if (views_ == 0) {
    end();
  } else {
    goes_ = true;
  }
}

void DeviceMessage::release_view() noexcept {
  if (--views_ == 0 && (detached_ || goes_) && message_ && !consumer_->is_left_alone()) end();
  consumer_->end_view();
}

void DeviceMessage::end() noexcept {
  {
    const Turn::Taken taken(consumer_->turn());
    finish(use_, *order_);
    message_ = cuda::Message();
  }
  held_.end();
}

DeviceLoan::DeviceLoan(std::shared_ptr<ProducerState> producer, std::shared_ptr<StreamOrder> order, DeviceUse use,
                       cuda::Loan loan)
    : producer_(std::move(producer)),
      order_(std::move(order)),
      use_(std::move(use)),
      loan_(std::move(loan)),
      layout_(ArrayLayout::of_bytes(loan_.capacity())) {
  held_.begin(*producer_);
}

DeviceLoan::~DeviceLoan() {
  leave_to_the_process(loan_);
  if (producer_ == nullptr || loan_.device() == nullptr || producer_->is_left_alone()) return;
  end();
}

void DeviceLoan::check_held() const {
  producer_->check_owner();
  if (!is_held())
    throw UsageError(producer_->where() +
                     ": the loan was published, went back to the pool, or is being published by another thread, or its "
                     "producer is closed");
}

nb::object DeviceLoan::to_dlpack(nb::handle self, nb::handle stream, const DlpackRequest& request) {
  check_held();
  bool no_order = false;
  const CUstream other = parse_dlpack_stream(stream, no_order);
  nb::object capsule = export_dlpack(
      self, [](PyObject* owner) { nb::inst_ptr<DeviceLoan>(owner)->release_view(); }, loan_.device(), layout_,
      {dlpack::kCuda, order_->device()}, false, request);
  ++views_;
  producer_->begin_view();
  if (no_order) return capsule;
  const Turn::Taken taken(producer_->turn());
  use_.begin_on(other, *order_);
  return capsule;
}

nb::dict DeviceLoan::array_interface() {
  check_held();
  return cuda_array_interface(layout_, loan_.device(), stream_number(use_.stream()), false);
}

void DeviceLoan::publish(nb::handle length, nb::handle timeout) {
  const Patience patience(timeout);
  check_held();
  if (views_ != 0) throw nb::buffer_error(describe_views(*producer_, "publish", views_).c_str());
  const std::size_t whole = is_array_ ? layout_.bytes() : loan_.capacity();
  const std::size_t bytes = length.is_none() ? whole : parse_size(length, "length");
  if (is_array_ && bytes < whole) throw nb::value_error("length: an array goes whole; leave it out");
  {
    const Turn::Taken taken(producer_->turn());
    if (is_array_) {
      const Tensor tensor = layout_.tensor();
      (void)loan_.set_metadata(std::as_bytes(std::span(&tensor, 1)));
    }
    use_.finish(*order_);
  }
  struct Going {
    bool& flag;
    ~Going() { flag = false; }
  } going{is_going_};
  is_going_ = true;
  const Status status =
      wait_for(producer_->turn(), patience, false, [&](Duration left) { return loan_.publish(bytes, left); });
  if (status != Status::ok) throw_status(status, {producer_->where(), "publish", patience.seconds()});
  held_.end();
}

void DeviceLoan::set_metadata(nb::handle data) {
  check_held();
  const Bytes bytes(data);
  const Turn::Taken taken(producer_->turn());
  const Status status = loan_.set_metadata(bytes.bytes());
  if (status != Status::ok) throw_status(status, {producer_->where(), "set_metadata"});
}

void DeviceLoan::give_back() noexcept {
  if (loan_.device() == nullptr || goes_back_ || is_going_ || producer_->is_left_alone()) return;
  if (views_ == 0) {
    end();
  } else {
    goes_back_ = true;
  }
}

void DeviceLoan::release_view() noexcept {
  if (--views_ == 0 && goes_back_ && !producer_->is_left_alone()) end();
  producer_->end_view();
}

void DeviceLoan::end() noexcept {
  {
    const Turn::Taken taken(producer_->turn());
    finish(use_, *order_);
    loan_ = cuda::Loan();
  }
  held_.end();
}

}  // namespace ipcq::python
