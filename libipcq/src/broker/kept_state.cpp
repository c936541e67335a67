#include "broker/kept_state.hpp"

#include <utility>

#include "base/memory_file.hpp"
#include "ipcq/error.hpp"

namespace ipcq::detail {

std::shared_ptr<const KeptState> first_state(const std::string& object, const QueueOptions& options) {
  if (options.state_bytes == 0) return {};
  Fd content = make_memory_file(options.state_bytes, object);
  if (!options.state_file.empty()) read_into(content.get(), options.state_bytes, options.state_file, object);
  return keep_state(std::move(content), options.state_bytes, "as it was at the queue's creation", object);
}

std::shared_ptr<const KeptState> keep_state(Fd content, std::uint64_t bytes, const std::string& as,
                                            const std::string& object) {
  if (!freeze(content.get())) {
    throw UsageError(object + ": its new state is still mapped by who has made it; unmap it first");
  }
  auto kept = std::make_shared<KeptState>();
  kept->bytes = bytes;
  kept->content = std::move(content);
  kept->as = as;
  return kept;
}

}  // namespace ipcq::detail
