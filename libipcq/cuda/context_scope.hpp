// What driver calls in the user's threads need: ContextScope makes a context current, BesideCaptures keeps a stream
// capture of another thread apart from a call, and ProbeStream tells whether a context has failed.
//
// A scope belongs to the thread that makes it, and restores on its end what that thread had. ProbeStream::query() is
// thread-safe.
#pragma once

#include <string>

#include "driver.hpp"

namespace ipcq::detail {

// Makes a context current in the calling thread while this lives; usually it is already, and nothing is done. False
// when the context no longer exists.
class ContextScope {
 public:
  explicit ContextScope(const Context& context) noexcept;
  ~ContextScope();
  explicit operator bool() const noexcept { return usable_; }
  ContextScope(const ContextScope&) = delete;
  ContextScope& operator=(const ContextScope&) = delete;

 private:
  bool usable_ = false;
  bool pushed_ = false;
};

// Puts the calling thread into the relaxed capture mode while this lives. Otherwise a global-mode capture of another
// thread would make calls of this thread fail, and those calls would invalidate that capture.
class BesideCaptures {
 public:
  BesideCaptures() noexcept { exchange(); }
  ~BesideCaptures() { exchange(); }
  BesideCaptures(const BesideCaptures&) = delete;
  BesideCaptures& operator=(const BesideCaptures&) = delete;

 private:
  void exchange() noexcept;
  CUstreamCaptureMode mode_ = CU_STREAM_CAPTURE_MODE_RELAXED;
};

// A stream of a context on which nothing is ever enqueued, so that query() fails only when the context has failed.
class ProbeStream {
 public:
  // Throws BackendError.
  ProbeStream(const Context& context, const std::string& object);
  ~ProbeStream();
  ProbeStream(const ProbeStream&) = delete;
  ProbeStream& operator=(const ProbeStream&) = delete;
  CUresult query() const noexcept;

 private:
  Context context_;
  CUstream stream_ = nullptr;
};

// Whether a call failed because a stream captures. Such an error says nothing against the context.
bool is_of_a_capture(CUresult result) noexcept;

}  // namespace ipcq::detail
