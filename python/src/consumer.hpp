// ipcq._core.Consumer.
#pragma once

#include <nanobind/nanobind.h>

#include <memory>

#include "message.hpp"
#include "waiting.hpp"

namespace ipcq::python {

class SessionObject;

class ConsumerObject {
 public:
  explicit ConsumerObject(std::shared_ptr<ConsumerState> state) : state_(std::move(state)) {}

  ConsumerState& state() const noexcept { return *state_; }
  const std::shared_ptr<ConsumerState>& shared() const noexcept { return state_; }

 private:
  std::shared_ptr<ConsumerState> state_;
};

void bind_consumer(nb::module_& m);

}  // namespace ipcq::python
