// ipcq.DeviceMessage and ipcq.DeviceLoan: payloads in device memory, in the order of streams (<ipcq/cuda.hpp>).
#pragma once

#include <nanobind/nanobind.h>

#include <ipcq/cuda.hpp>
#include <memory>
#include <optional>
#include <utility>

#include "array_layout.hpp"
#include "device_use.hpp"
#include "loan.hpp"
#include "message.hpp"

namespace ipcq::python {

class DeviceMessage {
 public:
  DeviceMessage(std::shared_ptr<ConsumerState> consumer, std::shared_ptr<StreamOrder> order, DeviceUse use,
                cuda::Message message);
  DeviceMessage(DeviceMessage&&) noexcept = default;
  DeviceMessage& operator=(DeviceMessage&&) = delete;
  ~DeviceMessage();

  ConsumerState& consumer() const noexcept { return *consumer_; }
  const cuda::Message& message() const noexcept { return message_; }
  CUstream stream() const noexcept { return use_.stream(); }
  int device() const noexcept { return order_->device(); }
  bool is_held() const noexcept {
    return !goes_ && !consumer_->is_closed() && !consumer_->is_inherited() && static_cast<bool>(message_);
  }
  void check_held() const;
  const ArrayLayout& layout();

  // Before another stream uses the payload; the release comes behind that.
  void begin_on(CUstream other);
  nb::object to_dlpack(nb::handle self, nb::handle stream, const DlpackRequest& request);
  nb::dict array_interface();
  // Releases it, behind the work of the streams that use it. Throws BufferError while DLPack views are alive.
  void release();
  void release_view() noexcept;
  // The same at once, or with the last view: by an exception, whose traceback may have one.
  void release_after_views() noexcept;
  void detach() {
    check_held();
    detached_ = true;
  }
  bool is_detached() const noexcept { return detached_; }

 private:
  void end() noexcept;

  std::shared_ptr<ConsumerState> consumer_;
  std::shared_ptr<StreamOrder> order_;
  Held held_;
  DeviceUse use_;
  cuda::Message message_;
  std::optional<ArrayLayout> layout_;
  std::size_t views_ = 0;
  bool detached_ = false;
  bool goes_ = false;  // with its last view
};

class DeviceLoan {
 public:
  DeviceLoan(std::shared_ptr<ProducerState> producer, std::shared_ptr<StreamOrder> order, DeviceUse use,
             cuda::Loan loan);
  DeviceLoan(DeviceLoan&&) noexcept = default;
  DeviceLoan& operator=(DeviceLoan&&) = delete;
  ~DeviceLoan();

  ProducerState& producer() const noexcept { return *producer_; }
  const cuda::Loan& loan() const noexcept { return loan_; }
  cuda::Loan& loan() noexcept { return loan_; }
  CUstream stream() const noexcept { return use_.stream(); }
  int device() const noexcept { return order_->device(); }
  bool is_held() const noexcept {
    return !is_going_ && !goes_back_ && !producer_->is_closed() && !producer_->is_inherited() &&
           loan_.device() != nullptr;
  }
  void check_held() const;
  const ArrayLayout& layout() const noexcept { return layout_; }
  // Shows it as an array, which travels beside the payload.
  void set_array(const ArrayLayout& layout) {
    layout_ = layout;
    is_array_ = true;
  }

  nb::object to_dlpack(nb::handle self, nb::handle stream, const DlpackRequest& request);
  nb::dict array_interface();
  void publish(nb::handle length, nb::handle timeout);
  void set_metadata(nb::handle data);
  void give_back() noexcept;
  void release_view() noexcept;

 private:
  void end() noexcept;

  std::shared_ptr<ProducerState> producer_;
  std::shared_ptr<StreamOrder> order_;
  Held held_;
  DeviceUse use_;
  cuda::Loan loan_;
  ArrayLayout layout_;
  bool is_array_ = false;
  std::size_t views_ = 0;
  bool goes_back_ = false;
  bool is_going_ = false;  // while it is published without the GIL
};

}  // namespace ipcq::python
