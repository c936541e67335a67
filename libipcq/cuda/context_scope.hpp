// How this library calls the driver in threads of the user's: a context that is current for a moment, calls that no
// capture of another thread refuses, and a stream to ask a context by. For one thread at a time.
#pragma once

#include <string>

#include "driver.hpp"

namespace ipcq::detail {

// A context, current while this lives. Does nothing where it is current already, as it mostly is; false where the
// context is gone.
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

// Lets this thread make calls, while this lives, that a capture of another thread would refuse and be spoilt by.
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

// A stream of a context, on which nothing is ever enqueued: asking it says whether the context has failed.
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

// Whether a call was refused because of a capture: the context works.
bool is_of_a_capture(CUresult result) noexcept;

}  // namespace ipcq::detail
