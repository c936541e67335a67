#include "buffer_bindings.hpp"

#include <nanobind/stl/string.h>

#include <ipcq/error.hpp>
#include <limits>
#include <string>

#include "array_buffer.hpp"
#include "buffer_pool.hpp"
#include "buffer_view_bindings.hpp"
#include "shown.hpp"
#if IPCQ_PYTHON_CUDA
#include "device_message.hpp"
#endif

namespace ipcq::python {
namespace {

using namespace nb::literals;

// The number of a GPU, or -1 for host memory.
int parse_device(nb::handle device) {
  if (device.is_none()) return -1;
  std::string word;
  if (nb::try_cast(device, word)) {
    if (word != "auto")
      throw nb::value_error("device: the number of a GPU, None for host memory, or 'auto': GPU 0 if there is one");
    return has_gpu(0) ? 0 : -1;
  }
  const std::size_t number = parse_size(device, "device");
  if (number > static_cast<std::size_t>(std::numeric_limits<int>::max())) throw nb::value_error("device: no such GPU");
  return static_cast<int>(number);
}

nb::object gpu_object(int gpu) { return gpu < 0 ? nb::none() : nb::object(nb::int_(gpu)); }

// "4 buffers of float32 (32, 8) on GPU 0"
std::string describe(const std::string& what, const ArrayLayout& layout, int gpu) {
  const std::string shape = nb::cast<std::string>(nb::str(shape_of(layout)));
  return what + name_of(layout.dtype) + " " + shape + (gpu < 0 ? " in host memory" : " on GPU " + std::to_string(gpu));
}

class BufferObject {
 public:
  explicit BufferObject(std::shared_ptr<BufferState> state) : state_(std::move(state)), layout_(state_->layout()) {}

  const std::shared_ptr<BufferState>& shared() const noexcept { return state_; }
  BufferState& state() const noexcept { return *state_; }

  int get_buffer(Py_buffer* view, PyObject* self, int flags) noexcept {
    if ((flags & PyBUF_WRITABLE) != 0)
      return refuse_buffer(view, "a Buffer shows its host side for reading: write it by host(write=True)");
    view->obj = nullptr;
    try {
      begin_view();
    } catch (nb::python_error& e) {
      e.restore();
      return -1;
    } catch (const nb::builtin_exception& e) {
      return refuse_buffer(view, e.what());
    } catch (const std::exception& e) {  // it was released, or its stream has failed
      return refuse_buffer(view, e.what());
    }
    const int result = fill_buffer(view, self, state_->memory().host(), layout_, true, flags);
    if (result != 0) state_->end_host(false);
    return result;
  }
  void begin_view() {
    static const Patience patience{nb::none()};
    state_->begin_host(false, true, patience);
  }
  void release_buffer() noexcept { state_->end_host(false); }
  nb::object to_dlpack(nb::handle self, const DlpackRequest& request) {
    begin_view();
    try {
      return export_dlpack(
          self, [](PyObject* owner) { nb::inst_ptr<BufferObject>(owner)->release_buffer(); }, state_->memory().host(),
          layout_, {}, true, request);
    } catch (...) {
      release_buffer();
      throw;
    }
  }

 private:
  std::shared_ptr<BufferState> state_;
  ArrayLayout layout_;  // which consumers of the buffer protocol refer to
};

BufferState::Stream stream_or_own(const BufferObject& self, nb::handle stream) {
  return stream.is_none() ? self.state().own_stream() : self.state().parse(stream);
}

void construct(BufferObject* self, nb::handle shape, nb::handle dtype, nb::handle device) {
  const ArrayLayout layout = ArrayLayout::contiguous(parse_dtype(dtype), parse_shape(shape));
  const int gpu = parse_device(device);
  std::string where = describe("a buffer of ", layout, gpu);
  std::unique_ptr<SideMemory> memory;
  {
    const ReleasedGil released;
    memory = gpu < 0 ? make_host_memory(layout.bytes()) : make_gpu_memory(layout.bytes(), gpu, true, where);
  }
  new (self) BufferObject(std::make_shared<BufferState>(layout, std::move(memory), nullptr, std::move(where)));
}

void check_size(const BufferObject& self, std::size_t bytes) {
  const std::size_t whole = self.state().layout().bytes();
  if (bytes != whole)
    throw nb::value_error((self.state().where() + ": copy_from: it has " + std::to_string(whole) + " bytes, and not " +
                           std::to_string(bytes))
                              .c_str());
}

void copy_from(BufferObject& self, nb::object source, [[maybe_unused]] nb::object stream) {
  self.state().check_held();
#if IPCQ_PYTHON_CUDA
  if (nb::isinstance<DeviceMessage>(source)) {
    auto& message = nb::cast<DeviceMessage&>(source);
    message.check_held();
    check_size(self, message.message().length());
    if (self.state().gpu() != message.device())
      throw UsageError(self.state().where() + ": copy_from: the message is on GPU " + std::to_string(message.device()) +
                       ": make the buffer by device=" + std::to_string(message.device()));
    const BufferState::Stream use = self.state().parse(stream);
    const DeviceView view(self.shared(), stream, true, false);
    message.begin_on(static_cast<CUstream>(use));
    self.state().copy_from_device(message.message().device(), message.message().length(), use);
    return;
  }
#endif
  const Array from(source);
  const ArrayLayout layout = ArrayLayout::contiguous(from.dtype(), from.shape());
  check_size(self, layout.bytes());
  const HostView view(self.shared(), true, false, Patience(nb::none()));
  from.copy_to({self.state().memory().host(), layout.bytes()});
}

void bind_buffer(nb::module_& m) {
  nb::enum_<SideState>(m, "BufferState", "Which side of a Buffer has the newest contents.")
      .value("SYNCED", SideState::synced, "Both.")
      .value("HOST_NEWER", SideState::host_newer, "The host side.")
      .value("DEVICE_NEWER", SideState::device_newer, "The device side.");
  auto of = nb::class_<BufferObject>(
      m, "Buffer", nb::type_slots(buffer_slots<BufferObject>()), nb::is_final(),
      "One array in pinned host memory and on a GPU, synchronised when a side is read.\n\n"
      "Reading a side whose contents are stale copies them first, once; writing a side makes the other\n"
      "stale. Views (host(), device()) say which: a view that writes one side ends before the other is\n"
      "used (BufferError). numpy.asarray(buffer), and producer.send_array(buffer), read the host side.\n"
      "Usable from any thread. As a context manager it is released at the end; memory is freed, or back\n"
      "in its pool, once the streams that have used it are done.");
  bind_host_arrays<BufferObject>(of);
  of.def("__init__", construct, "shape"_a, "dtype"_a = "uint8", nb::kw_only(), "device"_a.none() = nb::none(),
         nb::sig("def __init__(self, shape: Sequence[int], dtype: object = 'uint8', *, "
                 "device: int | str | None = None) -> None"),
         "Allocates and pins it, zeroed: not beside kernels, for which the driver waits (BufferPool).\n\n"
         "device: the number of a GPU; None: host memory alone, which both sides show; 'auto': GPU 0 where the driver\n"
         "has one, else host memory. Raises BackendError (no driver, no such GPU, no room), ValueError, MemoryError.")
      .def(
          "host",
          [](BufferObject& self, bool write, bool keep, nb::handle timeout) {
            return HostView(self.shared(), write, keep, Patience(timeout));
          },
          nb::kw_only(), "write"_a = false, "keep"_a = true, "timeout"_a.none() = nb::none(),
          nb::sig(
              "def host(self, *, write: bool = False, keep: bool = True, timeout: float | None = None) -> HostView"),
          "A view of the host side. Waits until no copy writes it (or, with write=True, uses it); kernels that\n"
          "use the device side are not waited for, unless they write what this reads.\n\n"
          "write: the device side is stale from now on. keep=False: all of it will be written, so nothing is\n"
          "copied for it. timeout: seconds. Raises BufferError (views of the device side), TimeoutError,\n"
          "BackendError.")
      .def(
          "device",
          [](BufferObject& self, nb::object stream, bool write, bool keep) {
            return DeviceView(self.shared(), std::move(stream), write, keep);
          },
          "stream"_a.none(), nb::kw_only(), "write"_a = false, "keep"_a = true,
          nb::sig("def device(self, stream: object, *, write: bool = False, keep: bool = True) -> DeviceView"),
          "A view of the device side for the work of one stream, which waits for the work of others on it. The CPU\n"
          "waits for nothing.\n\n"
          "stream: of PyTorch, CuPy, Numba or cuda.core, or its handle, which must stay until the view's end. None is\n"
          "refused, but for host memory, which has no streams. write, keep: as of host(). Raises BufferError (views\n"
          "of the host side), BackendError, TypeError, UsageError (the stream captures a graph, or is of another GPU).")
      .def(
          "to_device", [](BufferObject& self, nb::handle s) { self.state().to_device(stream_or_own(self, s)); },
          "stream"_a.none() = nb::none(), nb::sig("def to_device(self, stream: object = None) -> None"),
          "Enqueues the copy to the device, if that side is stale, ahead of its use. None: in a stream of the\n"
          "buffer's own. Raises as device().")
      .def(
          "to_host", [](BufferObject& self, nb::handle s) { self.state().to_host(stream_or_own(self, s)); },
          "stream"_a.none() = nb::none(), nb::sig("def to_host(self, stream: object = None) -> None"),
          "The same to the host: what reads that side waits for it.")
      .def(
          "mark_host_dirty", [](BufferObject& self) { self.state().mark_host(); },
          "Says that the host side was written, by its address. Raises UsageError: the device side is newer\n"
          "already, so both were written. BufferError: views of the device side are alive.")
      .def(
          "mark_device_dirty",
          [](BufferObject& self, nb::handle s) { self.state().mark_device(self.state().parse(s)); }, "stream"_a.none(),
          nb::sig("def mark_device_dirty(self, stream: object) -> None"),
          "Says that what `stream` has now writes the device side, by its address. Raises as mark_host_dirty().")
      .def(
          "synchronize", [](BufferObject& self, nb::handle timeout) { self.state().synchronize(Patience(timeout)); },
          "timeout"_a.none() = nb::none(), nb::sig("def synchronize(self, timeout: float | None = None) -> None"),
          "Waits until no stream uses it: copies, and the work of views that have ended. Copies nothing. Raises\n"
          "TimeoutError.")
      .def("copy_from", copy_from, "source"_a, "stream"_a.none() = nb::none(),
           nb::sig("def copy_from(self, source: BufferLike | DeviceMessage, stream: object = None) -> None"),
           "Fills it: of a DeviceMessage the device side, in `stream`, behind the message's payload and before its\n"
           "release; of what has a buffer (a Message, an array) the host side, now. Raises ValueError: it has another\n"
           "size in bytes.")
      .def(
          "release", [](BufferObject& self) { self.state().release(); },
          "Ends it: its memory is freed, or goes back to its pool, behind the streams that have used it. Does\n"
          "not wait. Raises BufferError: views are alive. Idempotent.")
      .def("__enter__",
           [](nb::object self) {
             nb::cast<BufferObject&>(self).state().check_held();
             return self;
           })
      .def(
          "__exit__",
          [](BufferObject& self, nb::handle type, nb::handle, nb::handle) {
            if (type.is_none()) {
              self.state().release();
            } else {
              self.state().release_after_views();
            }
          },
          "type"_a.none(), "value"_a.none(), "traceback"_a.none(),
          "release(); where an exception leaves the block, at once or with the last view.")
      .def_prop_ro(
          "held", [](const BufferObject& self) { return self.state().is_held(); },
          "Whether it is neither released nor back in its pool.")
      .def_prop_ro(
          "state", [](const BufferObject& self) { return self.state().state(); }, "Which side is newer.")
      .def_prop_ro(
          "backend", [](const BufferObject& self) { return self.state().gpu() < 0 ? "host" : "cuda"; },
          "'cuda', or 'host': one memory for both sides.")
      .def_prop_ro(
          "gpu", [](const BufferObject& self) { return gpu_object(self.state().gpu()); },
          nb::sig("def gpu(self) -> int | None"), "Number of the GPU; None: host memory.")
      .def_prop_ro(
          "shape", [](const BufferObject& self) { return shape_of(self.state().layout()); },
          nb::sig("def shape(self) -> tuple[int, ...]"), "Of the array.")
      .def_prop_ro(
          "dtype", [](const BufferObject& self) { return name_of(self.state().layout().dtype); },
          "Type of its elements, such as 'float32'.")
      .def_prop_ro(
          "nbytes", [](const BufferObject& self) { return self.state().layout().bytes(); },
          "Bytes of its elements, on one side.")
      .def("__repr__", [](const BufferObject& self) {
        return "<ipcq.Buffer: " + self.state().where() + (self.state().is_held() ? ">" : ", released>");
      });
}

struct PoolObject {
  std::shared_ptr<PoolState> state;
};

constexpr std::size_t kMostBuffers = 65536;

void construct_pool(PoolObject* self, nb::handle count, nb::handle shape, nb::handle dtype, nb::handle device) {
  const std::size_t buffers = parse_size(count, "count");
  if (buffers == 0 || buffers > kMostBuffers)
    throw nb::value_error("count: a pool has 1 to 65536 buffers");  // all are allocated in this call
  const ArrayLayout layout = ArrayLayout::contiguous(parse_dtype(dtype), parse_shape(shape));
  const int gpu = parse_device(device);
  std::string where = describe("pool of " + std::to_string(buffers) + " buffers of ", layout, gpu);
  std::shared_ptr<PoolState> state;
  {
    const ReleasedGil released;
    state = std::make_shared<PoolState>(buffers, layout, gpu, std::move(where));
  }
  new (self) PoolObject{std::move(state)};
}

void bind_pool(nb::module_& m) {
  nb::class_<PoolObject>(m, "BufferPool", "Buffers of one shape whose memory is allocated once. See ipcq.BufferPool.")
      .def("__init__", construct_pool, "count"_a, "shape"_a, "dtype"_a = "uint8", nb::kw_only(),
           "device"_a.none() = nb::none(),
           nb::sig("def __init__(self, count: int, shape: Sequence[int], dtype: object = 'uint8', *, "
                   "device: int | str | None = None) -> None"))
      .def(
          "get", [](PoolObject& self, nb::handle timeout) { return BufferObject(self.state->get(Patience(timeout))); },
          "timeout"_a.none() = nb::none(), nb::sig("def get(self, timeout: float | None = None) -> Buffer"),
          "A buffer that no stream uses; its contents are unspecified, and neither side is stale. Waits for\n"
          "one, up to `timeout` seconds (None: no limit; 0: not at all). Raises TimeoutError or, for 0, Empty,\n"
          "which say how many are held; ClosedError.")
      .def(
          "close", [](PoolObject& self, nb::handle timeout) { return self.state->close(Patience(timeout)); },
          "timeout"_a.none() = 10.0, nb::sig("def close(self, timeout: float | None = 10.0) -> int"),
          "Lends nothing more, waits for the streams that use what came back, and frees it. Returns how many\n"
          "buffers are not freed: those that are held, which are not waited for and are freed when they come\n"
          "back, and those that streams still used after the time-out. Idempotent.")
      .def(
          "__exit__",
          [](PoolObject& self, nb::handle type, nb::handle, nb::handle) {
            (void)self.state->close(Patience(nb::float_(type.is_none() ? 10.0 : 0.0)));
          },
          "type"_a.none(), "value"_a.none(), "traceback"_a.none(), "close(), which by an exception does not wait.")
      .def_prop_ro(
          "closed", [](const PoolObject& self) { return self.state->is_closed(); }, "Whether close() was called.")
      .def_prop_ro(
          "backend", [](const PoolObject& self) { return self.state->gpu() < 0 ? "host" : "cuda"; },
          "Of its buffers: 'cuda', or 'host', one memory for both sides.")
      .def_prop_ro(
          "gpu", [](const PoolObject& self) { return gpu_object(self.state->gpu()); },
          nb::sig("def gpu(self) -> int | None"), "Number of the GPU; None: host memory.")
      .def(
          "_counts",
          [](PoolObject& self) {
            const PoolState::Stats s = self.state->stats();
            return nb::make_tuple(s.count, s.held, s.in_use, s.gets, s.waits, s.dry);
          },
          nb::sig("def _counts(self) -> tuple[int, int, int, int, int, int]"))
      .def("__repr__", [](const PoolObject& self) {
        return "<ipcq.BufferPool: " + self.state->where() + (self.state->is_closed() ? ", closed>" : ">");
      });
}

}  // namespace

void bind_buffers(nb::module_& m) {
  bind_buffer(m);
  bind_pool(m);
}

}  // namespace ipcq::python
