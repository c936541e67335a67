// The ids of open endpoints, which slots, lines and held entries bear: 22 bits, from 2 on (1 is the broker itself).
//
// Thread safety: guarded by the broker's mutex. Invariant: take() returns an id again only after it has gone round all
// other values, and never while an endpoint uses it or words in shared memory still bear it.
#pragma once

#include <cstdint>
#include <functional>
#include <unordered_set>

#include "protocol/ring.hpp"

namespace ipcq::detail {

class ClientIds {
 public:
  // `still_borne`: whether words of a closed endpoint bear the id. Always finds one, as there are far more ids than
  // endpoints.
  std::uint32_t take(const std::function<bool(std::uint32_t)>& still_borne);
  void give_back(std::uint32_t id) noexcept { in_use_.erase(id); }
  bool is_in_use(std::uint32_t id) const { return in_use_.count(id) != 0; }

 private:
  std::uint32_t last_ = kBrokerClient;
  std::unordered_set<std::uint32_t> in_use_;
};

}  // namespace ipcq::detail
