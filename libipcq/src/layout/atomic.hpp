// The one place for raw atomics. Words that processes share are of these types; each access names its order.
//
// `SharedAtomics` is the policy that the protocol templates (ring.hpp, pool.hpp, group.hpp) are compiled with for host
// threads. The model checker brings its own policy with the same names (tests/model).
#pragma once

#include <emmintrin.h>

#include <atomic>
#include <cstdint>
#include <type_traits>

#include "layout/bits.hpp"

#if !defined(__x86_64__)
#error "libipcq needs x86-64: 16-byte compare-and-swap and single-copy atomic 16-byte loads"
#endif

namespace ipcq::detail {

// 8 bytes. Trivial, so that it may lie in shared memory.
struct Word {
  std::uint64_t raw;
  std::uint64_t load(std::memory_order order) const noexcept { return ref().load(order); }
  void store(std::uint64_t value, std::memory_order order) noexcept { ref().store(value, order); }
  bool cas(std::uint64_t expected, std::uint64_t desired, std::memory_order order) noexcept {
    return ref().compare_exchange_strong(expected, desired, order, std::memory_order_relaxed);
  }
  std::uint64_t fetch_add(std::uint64_t value, std::memory_order order) noexcept {
    return ref().fetch_add(value, order);
  }
  std::uint64_t fetch_or(std::uint64_t bits, std::memory_order order) noexcept { return ref().fetch_or(bits, order); }
  std::uint64_t fetch_and(std::uint64_t bits, std::memory_order order) noexcept { return ref().fetch_and(bits, order); }

 private:
  std::atomic_ref<std::uint64_t> ref() const noexcept {
    return std::atomic_ref<std::uint64_t>(const_cast<std::uint64_t&>(raw));
  }
};

// 4 bytes; a futex may wait on it.
struct Word32 {
  std::uint32_t raw;
  std::uint32_t load(std::memory_order order) const noexcept { return ref().load(order); }
  void store(std::uint32_t value, std::memory_order order) noexcept { ref().store(value, order); }
  bool cas(std::uint32_t expected, std::uint32_t desired, std::memory_order order) noexcept {
    return ref().compare_exchange_strong(expected, desired, order, std::memory_order_relaxed);
  }
  std::uint32_t fetch_add(std::uint32_t value, std::memory_order order) noexcept {
    return ref().fetch_add(value, order);
  }

 private:
  std::atomic_ref<std::uint32_t> ref() const noexcept {
    return std::atomic_ref<std::uint32_t>(const_cast<std::uint32_t&>(raw));
  }
};

// Both halves as they stood together at one instant, for words whose low half never returns to an old value: a slot's
// lease, a cursor's next ticket. The low half has not changed around the look at the high one, so it stood there at
// that look. (The high half may return to an old value: high, low, high would not prove it.)
template <class Low, class High>
Pair stable_pair(Low low, High high) {
  for (std::uint64_t before = low();;) {
    const std::uint64_t top = high();
    const std::uint64_t after = low();
    if (before == after) return {before, top};
    before = after;
  }
}

// 16 bytes, compare-and-swap as one.
struct alignas(16) Wide {
  Word lo;
  Word hi;
  // The halves, one after the other: perhaps the low one of one value and the high one of a later value. Only for what
  // a compare-and-swap, which a mixed value makes fail, or one half alone decides.
  Pair load() const noexcept {
    const std::uint64_t low = lo.load(std::memory_order_acquire);
    return {low, hi.load(std::memory_order_acquire)};
  }
  // For every other decision.
  Pair load_stable() const noexcept {
    return stable_pair([this] { return lo.load(std::memory_order_acquire); },
                       [this] { return hi.load(std::memory_order_acquire); });
  }
  // acquire and release in one. The full barrier of the x86 instruction is not relied on.
  bool cas(Pair expected, Pair desired) noexcept {
    const auto from = join(expected);
    const auto to = join(desired);
#if defined(__SANITIZE_THREAD__)
    auto seen = from;
    return __atomic_compare_exchange_n(reinterpret_cast<unsigned __int128*>(this), &seen, to, false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_ACQUIRE);
#else
    return __sync_bool_compare_and_swap(reinterpret_cast<unsigned __int128*>(this), from, to);
#endif
  }
  // For the sole writer, when the low half stays as it is.
  void store_hi(std::uint64_t value) noexcept { hi.store(value, std::memory_order_release); }
  // Before anybody else can see the word.
  void init(Pair value) noexcept {
    lo.store(value.lo, std::memory_order_relaxed);
    hi.store(value.hi, std::memory_order_release);
  }

 private:
  static unsigned __int128 join(Pair p) noexcept { return (static_cast<unsigned __int128>(p.hi) << 64) | p.lo; }
};

// A tagged unit of a line: 12 bytes of data and the lap tag in the top 4. One 16-byte access, so that a reader across
// PCIe who sees the tag sees the data. ThreadSanitizer cannot see vector accesses as atomic; for it, and for any reader
// on the CPU, two halves with the tagged one last are as good.
struct alignas(16) Unit {
  std::uint64_t lo;
  std::uint64_t hi;

  void store(Pair value, std::memory_order order) noexcept {
#if defined(__SANITIZE_THREAD__)
    std::atomic_ref<std::uint64_t>(lo).store(value.lo, std::memory_order_relaxed);
    std::atomic_ref<std::uint64_t>(hi).store(value.hi, order);
#else
    // x86 stores are not reordered with earlier loads and stores: relaxed and release are the same instruction, and
    // the compiler barrier keeps the program's order.
    (void)order;
    std::atomic_signal_fence(std::memory_order_seq_cst);
    _mm_store_si128(reinterpret_cast<__m128i*>(this),
                    _mm_set_epi64x(static_cast<long long>(value.hi), static_cast<long long>(value.lo)));
    std::atomic_signal_fence(std::memory_order_seq_cst);
#endif
  }
  Pair load(std::memory_order order) const noexcept {
#if defined(__SANITIZE_THREAD__)
    auto& self = const_cast<Unit&>(*this);
    const std::uint64_t high = std::atomic_ref<std::uint64_t>(self.hi).load(order);
    return {std::atomic_ref<std::uint64_t>(self.lo).load(std::memory_order_relaxed), high};
#else
    (void)order;  // x86 loads are not reordered with later loads and stores
    std::atomic_signal_fence(std::memory_order_seq_cst);
    const __m128i v = _mm_load_si128(reinterpret_cast<const __m128i*>(this));
    std::atomic_signal_fence(std::memory_order_seq_cst);
    return {static_cast<std::uint64_t>(_mm_cvtsi128_si64(v)),
            static_cast<std::uint64_t>(_mm_cvtsi128_si64(_mm_unpackhi_epi64(v, v)))};
#endif
  }
  // Only the half that carries the tag.
  std::uint64_t load_hi(std::memory_order order) const noexcept {
    return std::atomic_ref<std::uint64_t>(const_cast<Unit&>(*this).hi).load(order);
  }
};

static_assert(std::is_trivial_v<Word> && sizeof(Word) == 8);
static_assert(std::is_trivial_v<Word32> && sizeof(Word32) == 4);
static_assert(std::is_trivial_v<Wide> && sizeof(Wide) == 16 && alignof(Wide) == 16);
static_assert(std::is_trivial_v<Unit> && sizeof(Unit) == 16 && alignof(Unit) == 16);

// Ordinary memory whose owner changes hands through an atomic word.
template <class T>
struct Plain {
  T value;
  T& edit() noexcept { return value; }
  const T& view() const noexcept { return value; }
};

struct SharedAtomics {
  using Word = detail::Word;
  using Wide = detail::Wide;
  using Unit = detail::Unit;
  template <class T>
  using Plain = detail::Plain<T>;
  // Host threads write every line there is.
  static constexpr bool kUnitsArriveInAnyOrder = false;
  // A hint: brings a whole 128-byte line into this core's cache, owned.
  static void prefetch_for_write(const void* line) noexcept {
    __builtin_prefetch(line, 1);
    __builtin_prefetch(static_cast<const char*>(line) + 64, 1);
  }
  static void prefetch_for_read(const void* line) noexcept {
    __builtin_prefetch(line, 0);
    __builtin_prefetch(static_cast<const char*>(line) + 64, 0);
  }
};

}  // namespace ipcq::detail
