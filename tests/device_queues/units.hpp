// Units whose three data words follow from the tag, so that a torn one shows. For host and device code.
#pragma once

#include <cstdint>

#include "ipcq/export.hpp"
#include "layout/queue_view.hpp"

namespace ipcq_test {

inline constexpr unsigned kUnits = 512;  // 64 lines

struct Units {
  ipcq::device::DeviceUnit unit[kUnits];
  alignas(128) std::uint32_t stop;
};

struct UnitCounts {
  unsigned long long mixed;  // torn units
  unsigned long long seen;   // changes of value
};

IPCQ_HOST_DEVICE inline ipcq::device::DeviceUnit make_whole(std::uint32_t tag) {
  return {{tag * 0x9e3779b1u, ~tag, tag ^ 0x5a5a5a5au, tag}};
}
IPCQ_HOST_DEVICE inline bool is_whole(const ipcq::device::DeviceUnit& u) {
  const ipcq::device::DeviceUnit w = make_whole(u.word[ipcq::detail::kTagWord]);
  return u.word[0] == w.word[0] && u.word[1] == w.word[1] && u.word[2] == w.word[2];
}

}  // namespace ipcq_test
