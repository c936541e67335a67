// ipcq.Buffer: one array on host and device. BufferState is what the Python object and its views share: memory, rules,
// and how both end.
//
// Thread-safe: called with the GIL, guarded by a lock of its own, and the GIL is let go around what the driver does.
// A view counts from begin_*() to end_*(). Memory goes back when the last reference does, or at release().
#pragma once

#include <nanobind/nanobind.h>

#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "array_layout.hpp"
#include "dlpack.hpp"
#include "gpu_side_memory.hpp"
#include "lifetime.hpp"
#include "side_memory.hpp"
#include "sides.hpp"
#include "waiting.hpp"

namespace ipcq::python {

// Where memory goes that a buffer has done with.
class BufferHome {
 public:
  BufferHome() = default;
  BufferHome(const BufferHome&) = delete;
  BufferHome& operator=(const BufferHome&) = delete;
  virtual ~BufferHome() = default;
  // With the GIL. Streams may use it still.
  virtual void put(std::unique_ptr<SideMemory> memory) noexcept = 0;
};

class BufferState {
 public:
  using Stream = SideMemory::Stream;

  // `home`: null for one whose memory is freed. `where` is for exceptions.
  BufferState(ArrayLayout layout, std::unique_ptr<SideMemory> memory, std::shared_ptr<BufferHome> home,
              std::string where);
  BufferState(const BufferState&) = delete;
  BufferState& operator=(const BufferState&) = delete;
  ~BufferState();

  const ArrayLayout& layout() const noexcept { return layout_; }
  const std::string& where() const noexcept { return where_; }
  int gpu() const noexcept { return gpu_; }  // below 0: host memory, which has no streams
  // A stream that a caller has passed. Throws TypeError, ValueError.
  Stream parse(nb::handle stream) const { return gpu_ < 0 ? nullptr : parse_gpu_stream(stream); }
  bool is_inherited() const noexcept { return forks_ != forks(); }
  bool is_held() const noexcept { return memory_ != nullptr && !goes_ && !is_inherited(); }
  // Throw UsageError if it was inherited by a fork, or also if it was released.
  void check_owner() const { check_forks(forks_, where_); }
  void check_held() const;
  SideState state();
  // While it is held, or a view of it is alive.
  const SideMemory& memory() const noexcept { return *memory_; }
  // Of the one that is held: for calls that name no stream. Throws as check_held().
  Stream own_stream() const {
    check_held();
    return memory_->own_stream();
  }

  // Begin a view. `keep`: what the other side has newer is copied first. That of the host waits for copies that are
  // under way. Throw BufferError (a view of the other side that writes, or any, where this one does), BackendError; of
  // the host TimeoutError, and what signals' handlers throw.
  void begin_host(bool writes, bool keep, const Patience& patience);
  void begin_device(Stream stream, bool writes, bool keep);
  void end_host(bool writes) noexcept { end(Side::host, {}, writes); }
  void end_device(const std::vector<Stream>& streams, bool wrote) noexcept { end(Side::device, streams, wrote); }
  // Another stream joins a view: its work comes behind what the view's own has now.
  void join(Stream own, Stream joining, bool writes);

  // Copies if the side is stale. Throw as begin_*().
  void to_device(Stream stream) { copy(Side::device, stream); }
  void to_host(Stream stream) { copy(Side::host, stream); }
  // For who writes by addresses. Throw UsageError where the other side is newer, BufferError as begin_*().
  void mark_host() { mark(Side::host, nullptr); }
  void mark_device(Stream stream) { mark(Side::device, stream); }
  // Fills the device side, in a view that writes.
  void copy_from_device(const std::byte* from, std::size_t bytes, Stream stream);
  // Waits until nothing that was enqueued uses it. Throws as begin_host() does.
  void synchronize(const Patience& patience);

  // Throws BufferError while views are alive.
  void release();
  // The same at once, or with its last view.
  void release_after_views() noexcept;

 private:
  void check_may_begin(Side side, bool writes) const;
  void synchronise(Side side, Stream stream);  // with the lock and the GIL
  void copy(Side side, Stream stream);
  void mark(Side side, Stream stream);
  void end(Side side, const std::vector<Stream>& streams, bool wrote) noexcept;
  // With the lock, where no view is alive; what it returns is sent home without.
  std::unique_ptr<SideMemory> take() noexcept { return std::move(memory_); }
  void send_home(std::unique_ptr<SideMemory> memory) noexcept;

  const ArrayLayout layout_;
  const std::string where_;
  const int gpu_;
  const std::uint32_t forks_ = forks();
  std::mutex mutex_;
  std::unique_ptr<SideMemory> memory_;
  std::shared_ptr<BufferHome> home_;
  Sides sides_;
  bool goes_ = false;  // with its last view
};

// A view of one side, as Python has it: arrays that were made of it count, and keep it.
class BufferView {
 public:
  BufferView(std::shared_ptr<BufferState> state, bool writes) : state_(std::move(state)), writes_(writes) {}
  BufferView(const BufferView&) = delete;
  BufferView& operator=(const BufferView&) = delete;

  BufferState& state() const noexcept { return *state_; }  // while it is alive, or arrays of it are
  bool writes() const noexcept { return writes_; }
  bool is_alive() const noexcept { return state_ != nullptr && !goes_ && !state_->is_inherited(); }
  void check_alive() const;
  // Throws BufferError while arrays are alive. Idempotent.
  void release();
  // The same at once, or with the last array.
  void release_after_arrays() noexcept;
  void begin_view() noexcept { ++arrays_; }
  void release_buffer() noexcept;

 protected:
  BufferView(BufferView&& other) noexcept = default;
  ~BufferView() = default;  // those that derive from it end it
  virtual void end(BufferState& state) noexcept = 0;
  // Of several threads that end it the first does; the others find that it has ended.
  void end_once() noexcept;
  const char* why_not_alive() const noexcept;

 private:
  std::shared_ptr<BufferState> state_;  // null: it has ended
  std::size_t arrays_ = 0;
  bool writes_;
  bool goes_ = false;
};

class HostView final : public BufferView {
 public:
  // Begins it.
  HostView(std::shared_ptr<BufferState> state, bool writes, bool keep, const Patience& patience);
  HostView(HostView&&) noexcept = default;
  HostView& operator=(HostView&&) = delete;
  ~HostView() { end_once(); }

  int get_buffer(Py_buffer* view, PyObject* self, int flags) noexcept;
  nb::object to_dlpack(nb::handle self, const DlpackRequest& request);
  std::uintptr_t address() const;

 private:
  void end(BufferState& state) noexcept override { state.end_host(writes()); }
  ArrayLayout layout_;  // which consumers of the buffer protocol refer to
};

class DeviceView final : public BufferView {
 public:
  // Begins it. `keeper`: the Python object of the stream, which must stay.
  DeviceView(std::shared_ptr<BufferState> state, nb::object keeper, bool writes, bool keep);
  DeviceView(DeviceView&&) noexcept = default;
  DeviceView& operator=(DeviceView&&) = delete;
  ~DeviceView() { end_once(); }

  nb::object to_dlpack(nb::handle self, nb::handle stream, const DlpackRequest& request);
  nb::dict array_interface() const;
  std::uintptr_t address() const;

 private:
  void end(BufferState& state) noexcept override {
    const nb::object keeper = std::move(keeper_);  // the GIL may be given up in between
    const auto streams = std::exchange(streams_, {});
    state.end_device(streams, writes());
  }
  nb::object keeper_;
  std::vector<SideMemory::Stream> streams_;  // its own first
};

}  // namespace ipcq::python
