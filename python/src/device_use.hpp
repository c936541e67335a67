// Streams of a GPU around one payload: it is ready in the order of its own stream, others that its consumers name are
// ordered behind that, and its end behind what they have done with it.
#pragma once

#include <nanobind/nanobind.h>

#include <cuda.h>

#include <ipcq/cuda.hpp>
#include <memory>
#include <vector>

#include "dlpack.hpp"

namespace ipcq::python {

// A stream as Python names it: None (the legacy default stream), a handle as a number, or an object that has one (of
// PyTorch, CuPy, Numba, cuda.core). 0 and 1 are the legacy default stream, 2 is the thread's own. Throws TypeError.
CUstream parse_stream(nb::handle stream);
// The same as a consumer of DLPack passes it. Throws ValueError. `no_order`: it wants none (-1).
CUstream parse_dlpack_stream(nb::handle stream, bool& no_order);
// As version 3 of the CUDA array interface names it, which has no 0.
std::uintptr_t stream_number(CUstream stream) noexcept;

// Has a context current in this thread: that of `device` where there is none. Throws BackendError.
void ensure_context(int device);

// An event by which streams of one context are ordered. It is recorded anew for each order, which those enqueued before
// do not see. Not thread-safe: an endpoint has one, used in its turn.
class StreamOrder {
 public:
  StreamOrder() noexcept = default;
  StreamOrder(const StreamOrder&) = delete;
  StreamOrder& operator=(const StreamOrder&) = delete;
  ~StreamOrder();
  // Makes the event, before a stream waits or a kernel stays: the driver may hold such a call up until they end.
  void prepare();
  // What is enqueued on `behind` from now on comes after what `before` has now. Throws BackendError.
  void order(CUstream before, CUstream behind);
  int device() const noexcept { return device_; }

 private:
  CUevent event_ = nullptr;
  CUcontext context_ = nullptr;
  int device_ = 0;
};

// The streams of one payload.
class DeviceUse {
 public:
  // `keeper`: the Python object of the stream, which must stay.
  DeviceUse(CUstream stream, nb::object keeper) noexcept : stream_(stream), keeper_(std::move(keeper)) {}

  CUstream stream() const noexcept { return stream_; }
  // Before another stream uses the payload.
  void begin_on(CUstream other, StreamOrder& order);
  // Before its end: what the others have enqueued comes first.
  void finish(StreamOrder& order);

 private:
  CUstream stream_;
  nb::object keeper_;
  std::vector<CUstream> others_;
};

}  // namespace ipcq::python
