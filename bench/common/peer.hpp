// Peer: another process of a benchmark, forked with all that its maker sees. SharedMemory: what both write.
//
// Make the shared memory before the peer. A failure on either side ends the whole benchmark with exit code 1.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdlib>
#include <exception>
#include <span>
#include <string>
#include <type_traits>

namespace ipcq::bench {

// Says "<program>: what" on stderr and ends this process at once, as a fork may: no destructor runs, but the
// process' temporary folders are removed.
[[noreturn]] void fail(const std::string& what);

// The name of this benchmark's broker: the same in its peers, another in each run.
const std::string& broker_name();

class Peer {
 public:
  // A template, so that the compiler sees the timed loop in `body` together with what it captures.
  template <class Body>
  explicit Peer(Body body) : pid_(fork_process()) {
    if (pid_ != 0) return;
    try {
      body();
    } catch (const std::exception& e) {
      fail(e.what());
    }
    std::_Exit(0);
  }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;
  ~Peer() { join(); }

  // Waits for its end; fails if it failed. Once is enough.
  void join();

 private:
  static pid_t fork_process();

  pid_t pid_;  // 0 when joined
};

void* map_shared(std::size_t bytes);
void unmap_shared(void* data, std::size_t bytes) noexcept;

// `count` values in zeroed pages that are there already: no page fault is timed.
template <class T>
class SharedMemory {
  static_assert(std::is_trivially_destructible_v<T>);

 public:
  explicit SharedMemory(std::size_t count = 1)
      : bytes_(count * sizeof(T)), data_(static_cast<T*>(map_shared(bytes_))) {}
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  ~SharedMemory() { unmap_shared(data_, bytes_); }

  T* get() const noexcept { return data_; }
  T& operator*() const noexcept { return *data_; }
  T* operator->() const noexcept { return data_; }
  T& operator[](std::size_t i) const noexcept { return data_[i]; }
  std::span<T> values() const noexcept { return {data_, bytes_ / sizeof(T)}; }

 private:
  std::size_t bytes_;
  T* data_;
};

}  // namespace ipcq::bench
