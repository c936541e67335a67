// The memory of an ipcq.Buffer, and the order of the streams that use it: pinned memory and VRAM of a GPU
// (gpu_side_memory.cpp), or one host memory for both sides.
//
// Not thread-safe: a buffer's lock guards it. Nothing needs the GIL, and what enqueues is called without it: the driver
// makes a caller wait whose stream is full. Calls throw BackendError.
#pragma once

#include <nanobind/nanobind.h>

#include <cstddef>
#include <memory>

#include "dlpack.hpp"

namespace ipcq::python {

class SideMemory {
 public:
  using Stream = void*;  // CUstream; the host's memory has none

  SideMemory() = default;
  SideMemory(const SideMemory&) = delete;
  SideMemory& operator=(const SideMemory&) = delete;
  virtual ~SideMemory() = default;  // frees: it must be idle

  virtual std::byte* host() const noexcept = 0;
  virtual std::byte* device() const noexcept = 0;
  virtual dlpack::Device dlpack_device() const noexcept = 0;
  // That of a GPU; below 0: host memory.
  virtual int gpu() const noexcept = 0;

  // A stream of this memory's own, which is no default stream.
  virtual Stream own_stream() const noexcept = 0;

  // What is enqueued on the stream from now on comes behind what has used the device side: behind its writers, or,
  // where it writes itself, behind all. Throws UsageError: the stream is of another context, or captures a graph.
  virtual void begin_on(Stream stream, bool writes) = 0;
  // What the stream has now is a use of the device side. What cannot be recorded is never idle again.
  virtual void end_on(Stream stream, bool wrote) noexcept = 0;
  // Enqueue copies of the whole, behind what has used the side that is written.
  virtual void copy_to_device(Stream stream) = 0;
  virtual void copy_to_host(Stream stream) = 0;
  // Enqueues a copy from elsewhere on the device. begin_on() comes before it.
  virtual void copy_from_device(const std::byte* from, std::size_t bytes, Stream stream) = 0;

  // Whether the CPU may read the host side (or write it): no copy that was enqueued still writes (or uses) it.
  virtual bool is_host_free(bool writes) const = 0;
  // Whether nothing that was enqueued uses either side any more.
  virtual bool is_idle() const noexcept = 0;
};

// Zeroed. Throws std::bad_alloc.
std::unique_ptr<SideMemory> make_host_memory(std::size_t bytes);
// Frees memory once it is idle, in a thread of its own; never, where the interpreter ends. Does not wait.
void free_when_idle(std::unique_ptr<SideMemory> memory) noexcept;
// Waits until nothing idle is left to free, `most_ms` at most. How many are left. Without the GIL.
std::size_t await_freeing(int most_ms) noexcept;

}  // namespace ipcq::python
