// Descriptors whose fields all differ, for tests of lines.
#pragma once

#include "layout/line.hpp"

namespace ipcq::detail {

inline Descriptor inlined(std::uint32_t length) {
  Descriptor x;
  x.kind = LineKind::inlined;
  x.length = length;
  x.producer = 0x2abcde;
  x.sequence = 0x1122334455667788;
  x.schema = 0x99aabbcc;
  x.priority = 3;
  return x;
}
inline Descriptor slot(std::uint32_t length = 4096) {
  Descriptor x = inlined(length);
  x.kind = LineKind::slot;
  x.flags = kPayloadReady;
  x.slot = 17;
  x.lease = 0x8000000000000001;
  x.alias = 70;
  x.alias_lease = 5;
  x.published_at_ns = 123456789;
  return x;
}

}  // namespace ipcq::detail
