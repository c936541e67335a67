// Descriptors whose fields all differ, for tests of lines, and their comparison.
#pragma once

#include <gtest/gtest.h>

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

// That what the first two units of a line say is what `d` says.
inline void expect_units_of(const PackedUnits& p, const Descriptor& d) {
  Descriptor of_units;
  unpack_units(p, of_units);
  EXPECT_EQ(of_units.sequence, d.sequence);
  EXPECT_EQ(of_units.producer, d.producer);
  EXPECT_EQ(of_units.schema, d.schema);
  EXPECT_EQ(of_units.length, d.length);
}

}  // namespace ipcq::detail
