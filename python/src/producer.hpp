// ipcq._core.Producer.
#pragma once

#include <nanobind/nanobind.h>

#include <ipcq/producer.hpp>
#include <memory>
#include <string>
#include <utility>

#include "loan.hpp"
#include "message.hpp"
#include "waiting.hpp"

namespace ipcq::python {

class ProducerObject {
 public:
  explicit ProducerObject(std::shared_ptr<ProducerState> state) : state_(std::move(state)) {}
  ProducerState& state() const noexcept { return *state_; }
  const std::shared_ptr<ProducerState>& shared() const noexcept { return state_; }

 private:
  std::shared_ptr<ProducerState> state_;
};

void bind_producer(nb::module_& m);

}  // namespace ipcq::python
