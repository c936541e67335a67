// What ipcq::cuda attaches to an endpoint: GPU work that the endpoint must wait for. libipcq knows no more of it.
#pragma once

#include "ipcq/status.hpp"
#include "ipcq/wait.hpp"

namespace ipcq::detail {

class DeviceSide {
 public:
  virtual ~DeviceSide() = default;
  // Before a receive on the CPU: waits until earlier receives have got their messages.
  virtual Status settle(Duration timeout) noexcept = 0;
  // Before the endpoint closes: ends or waits for, within bounds, what streams do with its messages and loans.
  virtual void close() noexcept = 0;
};

}  // namespace ipcq::detail
