// The interface by which an endpoint waits for its GPU work. ipcq::cuda implements it and attaches it to the endpoint;
// libipcq has no other dependency on CUDA. For the endpoint's thread.
#pragma once

#include "ipcq/status.hpp"
#include "ipcq/wait.hpp"

namespace ipcq::detail {

class DeviceSide {
 public:
  virtual ~DeviceSide() = default;
  // Called before a receive on the CPU. Waits, `timeout` at most, until the earlier receives of streams have taken
  // their messages. Returns ok; timeout; or empty if `timeout` is zero.
  virtual Status settle(Duration timeout) noexcept = 0;
  // Called before the endpoint closes. Ends what streams do with its messages and loans, or waits for it within a
  // bound.
  virtual void close() noexcept = 0;
};

}  // namespace ipcq::detail
