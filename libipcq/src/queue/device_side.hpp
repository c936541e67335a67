// The interface by which an endpoint waits for its GPU work. ipcq::cuda implements it and attaches it to the endpoint;
// libipcq has no other dependency on CUDA. For the endpoint's thread.
#pragma once

#include "base/deadline.hpp"
#include "ipcq/status.hpp"

namespace ipcq::detail {

class DeviceSide {
 public:
  virtual ~DeviceSide() = default;
  // Called before a receive on the CPU. Waits, until `deadline` at most, until the earlier receives of streams have
  // taken their messages. Returns ok; timeout; or empty if the deadline is without time.
  virtual Status await_receives(Deadline& deadline) noexcept = 0;
  // Called before the endpoint closes. Ends what streams do with its messages and loans, or waits for it within a
  // bound.
  virtual void close() noexcept = 0;
};

}  // namespace ipcq::detail
