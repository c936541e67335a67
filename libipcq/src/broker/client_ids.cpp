#include "broker/client_ids.hpp"

namespace ipcq::detail {

std::uint32_t ClientIds::take(const std::function<bool(std::uint32_t)>& still_borne) {
  do {
    last_ = (last_ + 1) & kClientMask;
  } while (last_ <= kBrokerClient || still_borne(last_) || !in_use_.insert(last_).second);
  return last_;
}

}  // namespace ipcq::detail
