// A received message as kernels read it: the consumer's entry in pinned memory, and the copy of it in device memory.
// It includes a public header, ipcq/cuda.hpp: users' kernels read its Header and Payload, so these are part of the
// layout.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ipcq/cuda.hpp"
#include "layout/limits.hpp"
#include "layout/line_format.hpp"

namespace ipcq::detail {

// Identical in both memories. cuda/device/deliver.cu copies it, 16 bytes per thread.
struct alignas(kLineBytes) Delivered {
  cuda::Header header;
  std::byte inlined[kDeliveredInlineBytes];  // payload of an inline message
};
inline constexpr unsigned kDeliveredUnits = sizeof(Delivered) / 16;
static_assert(sizeof(Delivered) == 128 && sizeof Delivered::inlined >= kInlineBytes);
static_assert(offsetof(Delivered, header) == 0 && offsetof(Delivered, inlined) == 32);
// Users' kernels read these structs, and a user's compiler lays them out.
static_assert(sizeof(cuda::Header) == 32);
static_assert(offsetof(cuda::Header, data) == 0 && offsetof(cuda::Header, length) == 8 &&
              offsetof(cuda::Header, sequence) == 16 && offsetof(cuda::Header, state) == 24 &&
              offsetof(cuda::Header, lost) == 28);
static_assert(sizeof(cuda::Payload) == 64);
static_assert(offsetof(cuda::Payload, data) == 0 && offsetof(cuda::Payload, length) == 8 &&
              offsetof(cuda::Payload, sequence) == 16 && offsetof(cuda::Payload, state) == 24 &&
              offsetof(cuda::Payload, tomb) == 32 && offsetof(cuda::Payload, lease) == 40 &&
              offsetof(cuda::Payload, decided) == 48 && offsetof(cuda::Payload, use) == 56);

}  // namespace ipcq::detail
