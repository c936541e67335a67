#include "array_buffer.hpp"

#include <algorithm>
#include <ipcq/error.hpp>

#include "errors.hpp"
#include "interpreter.hpp"

namespace ipcq::python {
namespace {

using Locked = LockWithGil<std::mutex>;

constexpr const char* kEndViews = ": delete the arrays that were made of it, and end it by release() or its `with`";

// Calls is_done() without the GIL, in naps that grow with what was waited, and signals' handlers between. False: the
// caller's patience is over.
template <class IsDone>
bool poll_until(const Patience& patience, IsDone&& is_done) {
  using std::chrono::steady_clock;
  const auto begin = steady_clock::now();
  for (;;) {
    {
      const ReleasedGil released;
      const auto until = steady_clock::now() + patience.slice();
      for (;;) {
        if (is_done()) return true;
        const auto now = steady_clock::now();
        if (now >= until) break;
        std::this_thread::sleep_for(nap_after(now - begin));
      }
    }
    if (patience.is_none_left()) return false;
    check_signals();
  }
}

}  // namespace

BufferState::BufferState(ArrayLayout layout, std::unique_ptr<SideMemory> memory, std::shared_ptr<BufferHome> home,
                         std::string where)
    : layout_(layout),
      where_(std::move(where)),
      gpu_(memory->gpu()),
      memory_(std::move(memory)),
      home_(std::move(home)) {}

BufferState::~BufferState() {
  if (is_inherited() || is_ending()) {
    (void)memory_.release();  // the parent's; or it goes with the process
  } else {
    send_home(take());
  }
}

void BufferState::check_held() const {
  check_owner();
  if (!is_held()) throw UsageError(where_ + ": it was released: make another, or get one from its pool");
}

SideState BufferState::state() {
  check_held();
  const Locked locked(mutex_);
  return sides_.state();
}

void BufferState::check_may_begin(Side side, bool writes) const {
  if (sides_.may_begin(side, writes)) return;
  const char* const there = side == Side::host ? "device" : "host";
  const char* const here = side == Side::host ? "host" : "device";
  throw nb::buffer_error((where_ + ": the " + here + " side cannot be " + (writes ? "written" : "read") + " while " +
                          count_views(sides_.views(other(side))) + " alive of the " + there + " side" +
                          (writes ? "" : ", which may be written") + kEndViews)
                             .c_str());
}

void BufferState::synchronise(Side side, Stream stream) {
  if (!sides_.is_stale(side)) return;
  {
    const ReleasedGil released;
    if (side == Side::device) {
      memory_->copy_to_device(stream);
    } else {
      memory_->copy_to_host(stream);
    }
  }
  sides_.set_synced();
}

void BufferState::begin_host(bool writes, bool keep, const Patience& patience) {
  check_held();
  {
    const Locked locked(mutex_);
    check_held();
    check_may_begin(Side::host, writes);
    if (keep || !writes) synchronise(Side::host, memory_->own_stream());
    if (memory_->is_host_free(writes)) {
      sides_.begin(Side::host, writes);
      if (writes) sides_.set_written(Side::host);
      return;
    }
    sides_.begin(Side::host, writes);
  }
  try {
    const bool is_free = poll_until(patience, [&] {
      const std::lock_guard lock(mutex_);
      return memory_->is_host_free(writes);
    });
    if (!is_free)
      throw_status(Status::timeout, {where_, "host", patience.seconds(), 0,
                                     "a copy between its sides has not ended within the time-out: a kernel before it "
                                     "still runs"});
  } catch (...) {
    end_host(writes);
    throw;
  }
  if (!writes) return;
  const Locked locked(mutex_);
  sides_.set_written(Side::host);
}

void BufferState::begin_device(Stream stream, bool writes, bool keep) {
  check_held();
  const Locked locked(mutex_);
  check_held();
  check_may_begin(Side::device, writes);
  if (keep || !writes) synchronise(Side::device, stream);
  {
    const ReleasedGil released;
    memory_->begin_on(stream, writes);
  }
  sides_.begin(Side::device, writes);
  if (writes) sides_.set_written(Side::device);
}

void BufferState::join(Stream own, Stream joining, bool writes) {
  const Locked locked(mutex_);
  const ReleasedGil released;
  memory_->end_on(own, writes);
  memory_->begin_on(joining, writes);
}

void BufferState::copy(Side side, Stream stream) {
  check_held();
  const Locked locked(mutex_);
  check_held();
  check_may_begin(side, false);
  synchronise(side, stream);
}

void BufferState::mark(Side side, Stream stream) {
  check_held();
  const Locked locked(mutex_);
  check_held();
  check_may_begin(side, true);
  if (sides_.is_stale(side))
    throw UsageError(where_ + ": both sides were written: the " + (side == Side::host ? "device" : "host") +
                     " side is newer already: synchronise by " +
                     (side == Side::host ? "to_host()" : "to_device(stream)") + " before you write");
  if (side == Side::device) {
    const ReleasedGil released;
    memory_->begin_on(stream, true);
    memory_->end_on(stream, true);
  }
  sides_.set_written(side);
}

void BufferState::copy_from_device(const std::byte* from, std::size_t bytes, Stream stream) {
  const Locked locked(mutex_);
  const ReleasedGil released;
  memory_->copy_from_device(from, bytes, stream);
}

void BufferState::synchronize(const Patience& patience) {
  check_held();
  const bool is_idle = poll_until(patience, [&] {
    const std::lock_guard lock(mutex_);
    return memory_ == nullptr || memory_->is_idle();
  });
  if (!is_idle)
    throw_status(Status::timeout,
                 {where_, "synchronize", patience.seconds(), 0, "streams still use it after the time-out"});
}

void BufferState::release() {
  if (!is_held() && !is_inherited()) return;
  check_held();
  std::unique_ptr<SideMemory> memory;
  {
    const Locked locked(mutex_);
    if (sides_.views() != 0)
      throw nb::buffer_error((where_ + ": release: " + count_views(sides_.views()) + " alive" + kEndViews).c_str());
    memory = take();
  }
  send_home(std::move(memory));
}

void BufferState::release_after_views() noexcept {
  if (!is_held()) return;
  std::unique_ptr<SideMemory> memory;
  {
    const Locked locked(mutex_);
    goes_ = true;
    if (sides_.views() == 0) memory = take();
  }
  send_home(std::move(memory));
}

void BufferState::end(Side side, const std::vector<Stream>& streams, bool wrote) noexcept {
  if (is_inherited() || is_ending()) return;
  std::unique_ptr<SideMemory> memory;
  {
    const Locked locked(mutex_);
    if (!streams.empty()) {
      const ReleasedGil released;
      for (Stream stream : streams) memory_->end_on(stream, wrote);
    }
    sides_.end(side, wrote);
    if (goes_ && sides_.views() == 0) memory = take();
  }
  send_home(std::move(memory));
}

void BufferState::send_home(std::unique_ptr<SideMemory> memory) noexcept {
  if (memory == nullptr) return;
  if (home_ != nullptr) {
    home_->put(std::move(memory));
  } else {
    free_when_idle(std::move(memory));
  }
}

void BufferView::check_alive() const {
  if (state_ != nullptr) state_->check_owner();
  if (!is_alive()) throw UsageError("the view of a buffer has ended: begin another by host() or device()");
}

void BufferView::release() {
  if (state_ == nullptr) return;
  if (arrays_ != 0)
    throw nb::buffer_error((state_->where() + ": " + count_views(arrays_) +
                            " alive of a side, and would go on after its end: delete the arrays that were made of it")
                               .c_str());
  end_once();
}

void BufferView::release_after_arrays() noexcept {
  goes_ = true;
  if (arrays_ == 0) end_once();
}

void BufferView::release_buffer() noexcept {
  if (--arrays_ == 0 && goes_) end_once();
}

void BufferView::end_once() noexcept {
  const auto state = std::exchange(state_, nullptr);  // a name that is left keeps no buffer
  if (state != nullptr) end(*state);
}

const char* BufferView::why_not_alive() const noexcept {
  return state_ != nullptr && state_->is_inherited() ? "the view of a buffer belongs to the parent process"
                                                     : "the view of a buffer has ended";
}

HostView::HostView(std::shared_ptr<BufferState> state, bool writes, bool keep, const Patience& patience)
    : BufferView(std::move(state), writes), layout_(this->state().layout()) {
  this->state().begin_host(writes, keep, patience);
}

int HostView::get_buffer(Py_buffer* view, PyObject* self, int flags) noexcept {
  if (!is_alive()) return refuse_buffer(view, why_not_alive());
  if (!writes() && (flags & PyBUF_WRITABLE) != 0)
    return refuse_buffer(view, "this view of a buffer reads: host(write=True) shows one that can be written");
  const int result = fill_buffer(view, self, state().memory().host(), layout_, !writes(), flags);
  if (result == 0) begin_view();
  return result;
}

nb::object HostView::to_dlpack(nb::handle self, const DlpackRequest& request) {
  check_alive();
  nb::object capsule = export_dlpack(
      self, [](PyObject* owner) { nb::inst_ptr<HostView>(owner)->release_buffer(); }, state().memory().host(), layout_,
      {}, !writes(), request);
  begin_view();
  return capsule;
}

std::uintptr_t HostView::address() const {
  check_alive();
  return reinterpret_cast<std::uintptr_t>(state().memory().host());
}

DeviceView::DeviceView(std::shared_ptr<BufferState> state, nb::object keeper, bool writes, bool keep)
    : BufferView(std::move(state), writes), keeper_(std::move(keeper)) {
  streams_.push_back(this->state().parse(keeper_));
  this->state().begin_device(streams_.front(), writes, keep);
}

nb::object DeviceView::to_dlpack(nb::handle self, nb::handle stream, const DlpackRequest& request) {
  check_alive();
  const SideMemory& memory = state().memory();
  bool no_order = memory.gpu() < 0;
  const SideMemory::Stream joining = no_order ? nullptr : parse_gpu_dlpack_stream(stream, no_order);
  nb::object capsule = export_dlpack(
      self, [](PyObject* owner) { nb::inst_ptr<DeviceView>(owner)->release_buffer(); }, memory.device(),
      state().layout(), memory.dlpack_device(), !writes(), request);
  begin_view();
  if (no_order || joining == streams_.front()) return capsule;
  state().join(streams_.front(), joining, writes());
  if (std::find(streams_.begin(), streams_.end(), joining) == streams_.end()) streams_.push_back(joining);
  return capsule;
}

nb::dict DeviceView::array_interface() const {
  check_alive();
  const SideMemory& memory = state().memory();
  if (memory.gpu() < 0)
    throw nb::attribute_error("the buffer is in host memory, which has no CUDA array interface: use DLPack");
  const auto stream = reinterpret_cast<std::uintptr_t>(streams_.front());
  return cuda_array_interface(state().layout(), memory.device(), stream == 0 ? 1 : stream, !writes());
}

std::uintptr_t DeviceView::address() const {
  check_alive();
  return reinterpret_cast<std::uintptr_t>(state().memory().device());
}

}  // namespace ipcq::python
