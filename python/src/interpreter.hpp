// The interpreter around the library: its global lock, and its end.
//
// A thread that asks for the GIL while the interpreter ends is killed by Python, and with it, since C++ frames do not
// survive that, the process. So threads let the GIL go by ReleasedGil alone, and one that would take it again then
// stays where it is until the process is gone.
#pragma once

#include <nanobind/nanobind.h>

#include <atomic>

namespace ipcq::python {

// Whether the interpreter ends: nothing is given back to the library any more, what is left goes with the process.
bool is_ending() noexcept;
// From now on. Waits, without the GIL, up to two seconds until threads within calls of the library have come back, or
// have stopped.
void begin_ending();

// In the child of a fork: the threads that were away are the parent's.
void forget_threads_of_the_parent() noexcept;

// Lets the GIL go while it lives.
class ReleasedGil {
 public:
  ReleasedGil() noexcept;
  ReleasedGil(const ReleasedGil&) = delete;
  ReleasedGil& operator=(const ReleasedGil&) = delete;
  ~ReleasedGil();

 private:
  PyThreadState* state_;
};

// For a thread that has no GIL, and is not of Python's: whether it may take it. While this lives, and says so, the
// interpreter's end waits for it, as begin_ending() says.
class MayTakeGil {
 public:
  MayTakeGil() noexcept;
  MayTakeGil(const MayTakeGil&) = delete;
  MayTakeGil& operator=(const MayTakeGil&) = delete;
  ~MayTakeGil();
  explicit operator bool() const noexcept { return may_; }

 private:
  bool may_;
};

// Holds a lock of a thread that has the GIL, which it lets go only where it has to wait.
template <class Mutex>
class LockWithGil {
 public:
  explicit LockWithGil(Mutex& mutex) : mutex_(mutex) {
    if (mutex_.try_lock()) return;
    const ReleasedGil released;
    mutex_.lock();
  }
  LockWithGil(const LockWithGil&) = delete;
  LockWithGil& operator=(const LockWithGil&) = delete;
  ~LockWithGil() { mutex_.unlock(); }

 private:
  Mutex& mutex_;
};

}  // namespace ipcq::python
