// The GPU side of an endpoint, attached to its core at the first use. Belongs to the endpoint's thread.
#pragma once

#include <memory>
#include <string>

#include "ipcq/error.hpp"
#include "layout/limits.hpp"
#include "layout/text_field.hpp"

namespace ipcq::detail {

// `role`: "producer" or "consumer", for errors. Throws UsageError in a forked child and for an endpoint that was not
// opened for ipcq::cuda; BackendError where the side cannot be set up.
template <class Side, class Core>
Side& attached_side(Core& core, const char* role) {
  const auto object = [&] {
    return std::string(role) + " of queue '" + get_text(core.queue()->config().segment.name, kNameBytes) + "'";
  };
  if (core.shared_session()->is_forked_child())
    throw UsageError(object() + ": used after fork; connect anew in the child");
  auto& side = core.device_side();
  if (!side) {
    if (!core.uses_cuda()) throw UsageError(object() + ": not opened for ipcq::cuda; open it with {.cuda = true}");
    side = std::make_shared<Side>(core);
  }
  return static_cast<Side&>(*side);
}

}  // namespace ipcq::detail
