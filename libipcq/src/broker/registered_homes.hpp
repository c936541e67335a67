// The queues of a broker as homes of requests that were passed on (repair/call_homes.hpp).
//
// Thread safety: guarded by the broker's mutex. Refers to the registry, which must outlive it.
#pragma once

#include "broker/registry.hpp"
#include "repair/call_homes.hpp"

namespace ipcq::detail {

class RegisteredHomes final : public CallHomes {
 public:
  explicit RegisteredHomes(const Registry& registry) : registry_(registry) {}
  std::optional<Home> find(std::uint64_t generation) const override;
  bool was_published(std::uint64_t generation, std::uint64_t ticket) const override;

 private:
  const QueueEntry* entry_of(std::uint64_t generation) const;
  const Registry& registry_;
};

}  // namespace ipcq::detail
