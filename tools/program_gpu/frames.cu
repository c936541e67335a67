// What the programs make and check on a GPU: the 4K RGB test picture (tools/program/pattern.hpp has the formula) and
// noise, sixteen bytes a thread and step.
//
// A thread's steps are whole tiles of the picture apart (48 units of sixteen bytes), so all that depends on the column
// is computed once; per unit there is one row to add.
#include <cstdint>
#include <ipcq/cuda.hpp>

#include "frames.hpp"
#include "program/pattern.hpp"

namespace ipcq::program {
namespace {

constexpr unsigned kRowUnits = Pattern4k::kRowBytes / sizeof(uint4);
constexpr unsigned kTileUnits = Pattern4k::kTileRowBytes / sizeof(uint4);
constexpr unsigned kFrameUnits = Pattern4k::kFrameBytes / sizeof(uint4);
static_assert(kFrameThreads % kTileUnits == 0);

__device__ unsigned splat(unsigned value) { return __byte_perm(value, 0, 0); }

struct Unit {
  unsigned word[4];
};

// For four bytes of which the first is of channel `first`: the mask of the bytes whose value includes x or y, and in
// each byte the number of pixels that it lies after the first.
__device__ unsigned bytes_with_x(unsigned first) {  // R and B
  return first == 0 ? 0xffff00ffU : first == 1 ? 0x00ffff00U : 0xff00ffffU;
}
__device__ unsigned bytes_with_y(unsigned first) {  // G and B
  return first == 0 ? 0x00ffff00U : first == 1 ? 0xff00ffffU : 0xffff00ffU;
}
__device__ unsigned pixels_ahead(unsigned first) {
  return first == 0 ? 0x01000000U : first == 1 ? 0x01010000U : 0x01010100U;
}

// The part of the expected bytes that all units of one column of the picture share.
class Column {
 public:
  __device__ Column(unsigned unit, std::uint64_t frame) {
    const unsigned f = splat(static_cast<unsigned>(frame));
#pragma unroll
    for (unsigned i = 0; i < 4; ++i) {
      const unsigned word = unit % kTileUnits * 4 + i;
      const unsigned first = word * 4 % 3;
      const unsigned x = __vadd4(splat(word * 4 / 3), pixels_ahead(first));
      top_.word[i] = __vadd4(x & bytes_with_x(first), f);
      with_y_[i] = bytes_with_y(first);
    }
  }
  __device__ Unit in_row_of(unsigned unit) const {
    const unsigned y = splat(unit / kRowUnits);
    Unit result;
#pragma unroll
    for (unsigned i = 0; i < 4; ++i) result.word[i] = __vadd4(top_.word[i], y & with_y_[i]);
    return result;
  }

 private:
  Unit top_;  // in row 0
  unsigned with_y_[4];
};

// The expected unit after a queue's handler: the counterparts of ipcq::handlers, which work on a whole message.
struct Unchanged {
  static __device__ Unit expected(const Column& column, unsigned unit) { return column.in_row_of(unit); }
};
struct Inverted {
  static __device__ Unit expected(const Column& column, unsigned unit) {
    Unit u = column.in_row_of(unit);
    for (unsigned& word : u.word) word = ~word;
    return u;
  }
};
struct UpperCase {
  static __device__ Unit expected(const Column& column, unsigned unit) {
    Unit u = column.in_row_of(unit);
    for (unsigned& word : u.word) word -= __vcmpgeu4(word, splat('a')) & __vcmpleu4(word, splat('z')) & splat(32);
    return u;
  }
};
struct VectorSum {
  static __device__ Unit expected(const Column& column, unsigned unit) {
    constexpr unsigned kHalf = kFrameUnits / 2;
    static_assert(kHalf % kRowUnits == 0);  // the other operand stands in the same column
    Unit u = column.in_row_of(unit);
    if (unit >= kHalf) return u;
    const Unit other = column.in_row_of(unit + kHalf);
    for (unsigned i = 0; i < 4; ++i) {
      u.word[i] = __float_as_uint(__uint_as_float(u.word[i]) + __uint_as_float(other.word[i]));
    }
    return u;
  }
};

__device__ unsigned differences(const Unit& a, const uint4& b) {
  const unsigned bits[4] = {a.word[0] ^ b.x, a.word[1] ^ b.y, a.word[2] ^ b.z, a.word[3] ^ b.w};
  if ((bits[0] | bits[1] | bits[2] | bits[3]) == 0) return 0;
  unsigned count = 0;
  for (const unsigned word : bits) count += __popc(__vcmpgtu4(word, 0) & 0x01010101U);
  return count;
}

// The number of differing bytes in this thread's share: units rank, rank + step, and so on.
template <class Handler>
__device__ unsigned count_differences(const std::byte* data, std::uint64_t length, std::uint64_t frame, unsigned rank,
                                      unsigned step) {
  const bool aligned = reinterpret_cast<std::uintptr_t>(data) % sizeof(uint4) == 0;
  const unsigned units = aligned ? static_cast<unsigned>(length / sizeof(uint4)) : 0;
  const auto* const from = reinterpret_cast<const uint4*>(data);
  const Column column(rank, frame);
  constexpr unsigned kAhead = 4;  // loads in flight before the first is compared
  unsigned bad = 0;
  for (unsigned unit = rank; unit < units; unit += kAhead * step) {
    uint4 found[kAhead];
#pragma unroll
    for (unsigned i = 0; i < kAhead; ++i) {
      if (unit + i * step < units) found[i] = __ldcg(from + unit + i * step);
    }
#pragma unroll
    for (unsigned i = 0; i < kAhead; ++i) {
      if (unit + i * step < units) bad += differences(Handler::expected(column, unit + i * step), found[i]);
    }
  }
  // The rest of a message that is not a whole number of units, or not aligned.
  for (std::uint64_t at = std::uint64_t{units} * sizeof(uint4) + rank; at < length; at += step) {
    const auto unit = static_cast<unsigned>(at / sizeof(uint4));
    const Unit expected = Handler::expected(Column(unit, frame), unit);
    const unsigned byte = expected.word[at / 4 % 4] >> (at % 4 * 8) & 0xff;
    bad += byte != static_cast<unsigned>(data[at]) ? 1 : 0;
  }
  return bad;
}

// Block 0 counts lost messages. So the other blocks compare at once, and a block asks for the status only if it has
// found a difference.
template <class Handler>
__device__ void check(const FrameCheck& what) {
  if (blockIdx.x == 0) {
    if (threadIdx.x != 0) return;
    const bool lost = what.message.status() != Status::ok;
    atomicAdd(lost ? &what.result->lost : &what.result->bad_bytes, lost ? 1 : what.bad_length);
    return;
  }
  const unsigned rank = (blockIdx.x - 1) * kFrameThreads + threadIdx.x;
  const unsigned step = (gridDim.x - 1) * kFrameThreads;
  const unsigned bad = count_differences<Handler>(what.data, what.length, what.frame, rank, step);
  if (__syncthreads_or(bad != 0) == 0) return;
  const bool counts = what.message.status() == Status::ok;  // a lost payload is not expected to match
  if (bad != 0 && counts) atomicAdd(&what.result->bad_bytes, static_cast<unsigned long long>(bad));
}

// Bijective mixing of 64 bits (splitmix64).
__device__ std::uint64_t mix(std::uint64_t value) {
  value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
  value = (value ^ value >> 27) * 0x94d049bb133111eb;
  return value ^ value >> 31;
}

}  // namespace

extern "C" __global__ void __launch_bounds__(kFrameThreads) ipcq_make_picture(uint4* data, std::uint64_t frame) {
  const unsigned rank = blockIdx.x * kFrameThreads + threadIdx.x;
  const Column column(rank, frame);
  for (unsigned unit = rank; unit < kFrameUnits; unit += gridDim.x * kFrameThreads) {
    const Unit made = column.in_row_of(unit);
    data[unit] = make_uint4(made.word[0], made.word[1], made.word[2], made.word[3]);
  }
}

// `length` bytes that do not compress, different for each seed.
extern "C" __global__ void __launch_bounds__(kFrameThreads)
    ipcq_make_noise(std::byte* data, std::uint64_t length, std::uint64_t seed) {
  const std::uint64_t rank = blockIdx.x * kFrameThreads + threadIdx.x;
  const std::uint64_t words = length / sizeof(std::uint64_t);
  const std::uint64_t key = mix(seed);
  const auto pair = [&](std::uint64_t unit) { return ulonglong2{mix(key + 2 * unit), mix(key + 2 * unit + 1)}; };
  for (std::uint64_t unit = rank; unit < words / 2; unit += gridDim.x * kFrameThreads) {
    reinterpret_cast<ulonglong2*>(data)[unit] = pair(unit);
  }
  for (std::uint64_t at = words / 2 * sizeof(ulonglong2) + rank; at < length; at += gridDim.x * kFrameThreads) {
    data[at] = static_cast<std::byte>(mix(key + at));
  }
}

#define IPCQ_CHECK_KERNEL(name, handler) \
  extern "C" __global__ void __launch_bounds__(kFrameThreads) name(FrameCheck what) { check<handler>(what); }
IPCQ_CHECK_KERNEL(ipcq_check_identity, Unchanged)
IPCQ_CHECK_KERNEL(ipcq_check_invert, Inverted)
IPCQ_CHECK_KERNEL(ipcq_check_upper, UpperCase)
IPCQ_CHECK_KERNEL(ipcq_check_vector_add, VectorSum)

}  // namespace ipcq::program
