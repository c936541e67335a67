// The ids of open endpoints, which slots, lines and held entries bear: 22 bits, from 2 on (1 is the broker itself).
//
// Ids go round all values before one comes back, and one that is in use or that words still bear is never given again.
#pragma once

#include <cstdint>
#include <functional>
#include <unordered_set>

#include "protocol/ring.hpp"

namespace ipcq::detail {

// Not thread-safe.
class ClientIds {
 public:
  // `still_borne`: whether words of a closed endpoint bear an id. There are far more ids than endpoints.
  std::uint32_t take(const std::function<bool(std::uint32_t)>& still_borne);
  void give_back(std::uint32_t id) noexcept { in_use_.erase(id); }
  bool is_in_use(std::uint32_t id) const { return in_use_.count(id) != 0; }

 private:
  std::uint32_t last_ = kBrokerClient;
  std::unordered_set<std::uint32_t> in_use_;
};

}  // namespace ipcq::detail
