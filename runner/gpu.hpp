// The GPU that this runner owns: its context, and the memory allocated from it.
//
// One thread at a time may allocate or free, and only while no persistent kernel is on the GPU (Runner pauses the
// executors), because the driver waits for kernels. Constructors throw BackendError. Objects made from a Gpu must not
// outlive it.
#pragma once

#include <cstdint>
#include <new>
#include <string>

#include "driver.hpp"
#include "layout/executor_memory.hpp"
#include "queue/queue_map.hpp"

namespace ipcq::runner {

class Gpu {
 public:
  // Throws BackendError: no driver, no such device, a device that is too old.
  // NotYet: the multi-process service accepts no process for a moment, because a client of it was killed.
  explicit Gpu(int device);
  ~Gpu();
  Gpu(const Gpu&) = delete;
  Gpu& operator=(const Gpu&) = delete;

  CUcontext context() const noexcept { return context_; }
  const std::string& name() const noexcept { return name_; }
  const std::string& object() const noexcept { return object_; }  // for errors
  unsigned multiprocessors() const noexcept { return multiprocessors_; }
  void get_uuid(std::uint8_t (&uuid)[16]) const noexcept;
  unsigned capability() const noexcept { return capability_; }  // 90 for 9.0
  // Executes an operation on the GPU. Throws BackendError if the context has failed. Only while no persistent kernel is
  // on the GPU.
  void check() const;
  // The address of pinned host memory on this GPU.
  template <class T>
  T* address(T* host) const {
    return reinterpret_cast<T*>(device_address(host));
  }

 private:
  CUdeviceptr device_address(const void* host) const;
  std::string object_;
  std::string name_;
  CUdevice device_ = 0;
  CUcontext context_ = nullptr;
  unsigned multiprocessors_ = 0;
  unsigned capability_ = 0;
};

// Memory that the runner has allocated in VRAM.
class DeviceAllocation {
 public:
  DeviceAllocation(const Gpu& gpu, std::uint64_t bytes, const std::string& object);
  ~DeviceAllocation();
  DeviceAllocation(const DeviceAllocation&) = delete;
  DeviceAllocation& operator=(const DeviceAllocation&) = delete;
  CUdeviceptr address() const noexcept { return address_; }
  std::uint64_t bytes() const noexcept { return bytes_; }
  // How another process maps it.
  detail::DeviceMemory exported() const;

 private:
  const Gpu& gpu_;
  std::uint64_t bytes_;
  CUdeviceptr address_ = 0;
};

// A non-blocking stream: it does not wait for the default stream.
class Stream {
 public:
  Stream(const Gpu& gpu, const std::string& object);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  CUstream get() const noexcept { return stream_; }

 private:
  const Gpu& gpu_;
  CUstream stream_ = nullptr;
};

// Pinned host memory of this process, zeroed and accessible to the GPU.
class PinnedBlock {
 public:
  PinnedBlock(const Gpu& gpu, std::size_t bytes, const std::string& object);
  ~PinnedBlock();
  PinnedBlock(const PinnedBlock&) = delete;
  PinnedBlock& operator=(const PinnedBlock&) = delete;
  void* data() const noexcept { return data_; }

 private:
  const Gpu& gpu_;
  void* data_ = nullptr;
};
template <class T>
class PinnedHost {
 public:
  PinnedHost(const Gpu& gpu, const std::string& object) : block_(gpu, sizeof(T), object) { new (block_.data()) T{}; }
  T* get() const noexcept { return static_cast<T*>(block_.data()); }
  T* operator->() const noexcept { return get(); }

 private:
  PinnedBlock block_;
};

// Whether this process' contexts belong to a multi-process service.
bool runs_under_mps();

}  // namespace ipcq::runner
