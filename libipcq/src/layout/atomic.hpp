// Raw atomics: every word that processes share is of one of these types, and each access names its memory order.
//
// `SharedAtomics` is the policy that the protocol templates (ring.hpp, pool.hpp, group.hpp) are compiled with for host
// threads. The model checker brings its own policy with the same names (tests/model).
#pragma once

#include <emmintrin.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "base/copy_bytes.hpp"
#include "layout/bits.hpp"

#if !defined(__x86_64__)
#error "libipcq needs x86-64: 16-byte compare-and-swap and single-copy atomic 16-byte loads"
#endif

namespace ipcq::detail {

// 8 bytes. Trivial, so that it can lie in shared memory without construction. A failed cas() is relaxed.
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

// 4 bytes, as a futex word must be.
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

// Loads both halves as they were at one instant, of a word whose low half never returns to an old value: a slot's
// lease, a cursor's next ticket. Two equal loads of the low half enclose the load of the high half, so the low half had
// that value when the high half was loaded. Loading high, low, high would not prove it: the high half may return to an
// old value.
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
  // Loads (acquire) the low half, then the high half, which may belong to a later value. Use it only where a
  // compare-and-swap from the result follows, which fails for a mixed value, or where one half alone decides.
  Pair load() const noexcept {
    const std::uint64_t low = lo.load(std::memory_order_acquire);
    return {low, hi.load(std::memory_order_acquire)};
  }
  // For every other decision: both halves of one value.
  Pair load_stable() const noexcept {
    return stable_pair([this] { return lo.load(std::memory_order_acquire); },
                       [this] { return hi.load(std::memory_order_acquire); });
  }
  // Acquire and release. No caller relies on the full barrier that the x86 instruction is.
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
  // Release store, for the only writer of the word, which keeps the low half.
  void store_hi(std::uint64_t value) noexcept { hi.store(value, std::memory_order_release); }
  // Before any other party uses the word.
  void init(Pair value) noexcept {
    lo.store(value.lo, std::memory_order_relaxed);
    hi.store(value.hi, std::memory_order_release);
  }

 private:
  static unsigned __int128 join(Pair p) noexcept { return (static_cast<unsigned __int128>(p.hi) << 64) | p.lo; }
};

// A tagged unit of a line: 12 bytes of data and the lap tag in the top 4. It is stored and loaded in one 16-byte
// access, so that a reader across PCIe that sees the tag also sees the data. ThreadSanitizer does not know vector
// accesses as atomic: under it the unit is accessed in halves, the tagged half stored last and loaded first, which is
// equivalent for readers on the CPU.
struct alignas(16) Unit {
  std::uint64_t lo;
  std::uint64_t hi;

  void store(Pair value, std::memory_order order) noexcept {
#if defined(__SANITIZE_THREAD__)
    std::atomic_ref<std::uint64_t>(lo).store(value.lo, std::memory_order_relaxed);
    std::atomic_ref<std::uint64_t>(hi).store(value.hi, order);
#else
    // x86 does not reorder a store with earlier loads and stores: relaxed and release are the same instruction, and the
    // compiler barrier keeps the program's order.
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
    (void)order;  // x86 does not reorder a load with later loads and stores
    std::atomic_signal_fence(std::memory_order_seq_cst);
    const __m128i v = _mm_load_si128(reinterpret_cast<const __m128i*>(this));
    std::atomic_signal_fence(std::memory_order_seq_cst);
    return {static_cast<std::uint64_t>(_mm_cvtsi128_si64(v)),
            static_cast<std::uint64_t>(_mm_cvtsi128_si64(_mm_unpackhi_epi64(v, v)))};
#endif
  }
  // A relaxed load() to 16 bytes of private memory. Returns the tag.
  std::uint32_t copy_to(std::byte* to) const noexcept {
#if defined(__SANITIZE_THREAD__)
    const Pair unit = load(std::memory_order_relaxed);
    std::memcpy(to, &unit, sizeof unit);
    return static_cast<std::uint32_t>(unit.hi >> 32);
#else
    std::atomic_signal_fence(std::memory_order_seq_cst);
    const __m128i v = _mm_load_si128(reinterpret_cast<const __m128i*>(this));
    std::atomic_signal_fence(std::memory_order_seq_cst);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), v);
    return static_cast<std::uint32_t>(_mm_cvtsi128_si32(_mm_shuffle_epi32(v, 0xff)));
#endif
  }
  // Loads only the half that carries the tag.
  std::uint64_t load_hi(std::memory_order order) const noexcept {
    return std::atomic_ref<std::uint64_t>(const_cast<Unit&>(*this).hi).load(order);
  }

  // Bytes of the units from `to` on, without tags; the tag of another unit orders them. A reader that does not own them
  // may copy what a writer changes meanwhile, and discards the copy then: so they are copied by words under
  // ThreadSanitizer, which must see atomics.
  [[gnu::always_inline]] static void write_plain(Unit* to, const std::byte* from, std::size_t bytes) noexcept {
#if defined(__SANITIZE_THREAD__)
    for (std::size_t at = 0; at < bytes; at += 8) {
      std::uint64_t word = 0;
      std::memcpy(&word, from + at, std::min<std::size_t>(8, bytes - at));
      std::atomic_ref<std::uint64_t>(*(&to->lo + at / 8)).store(word, std::memory_order_relaxed);
    }
#else
    std::atomic_signal_fence(std::memory_order_seq_cst);
    copy_bytes(to, from, bytes);
    std::atomic_signal_fence(std::memory_order_seq_cst);
#endif
  }
  [[gnu::always_inline]] static void read_plain(const Unit* from, std::byte* to, std::size_t bytes) noexcept {
#if defined(__SANITIZE_THREAD__)
    for (std::size_t at = 0; at < bytes; at += 8) {
      const std::uint64_t word = std::atomic_ref<std::uint64_t>(const_cast<std::uint64_t&>(*(&from->lo + at / 8)))
                                     .load(std::memory_order_relaxed);
      std::memcpy(to + at, &word, std::min<std::size_t>(8, bytes - at));
    }
#else
    std::atomic_signal_fence(std::memory_order_seq_cst);
    copy_bytes(to, from, bytes);
    std::atomic_signal_fence(std::memory_order_seq_cst);
#endif
  }
  // The bytes where they lie, for a reader that has claimed the line.
  static const std::byte* plain_bytes(const Unit* from) noexcept { return reinterpret_cast<const std::byte*>(from); }
};

static_assert(std::is_trivial_v<Word> && sizeof(Word) == 8);
static_assert(std::is_trivial_v<Word32> && sizeof(Word32) == 4);
static_assert(std::is_trivial_v<Wide> && sizeof(Wide) == 16 && alignof(Wide) == 16);
static_assert(std::is_trivial_v<Unit> && sizeof(Unit) == 16 && alignof(Unit) == 16);

// Ordinary memory at the end of a struct. An atomic word in it says which party may access it. The struct may have more
// bytes behind it than are declared.
template <std::size_t Declared>
struct PlainTail {
  std::byte bytes[Declared];
  std::byte* edit() noexcept { return bytes; }
  const std::byte* view() const noexcept { return bytes; }
};

struct SharedAtomics {
  using Word = detail::Word;
  using Wide = detail::Wide;
  using Unit = detail::Unit;
  template <std::size_t Declared>
  using PlainTail = detail::PlainTail<Declared>;
  // Hints: fetch the first 128 bytes of a line into this core's cache, for writing exclusively.
  static void prefetch_for_write(const void* line) noexcept {
    prefetch_line_for_write(line);
    prefetch_line_for_write(static_cast<const char*>(line) + 64);
  }
  // One cache line. By its name, since GCC makes a read of __builtin_prefetch(p, 1) unless told that the processor
  // knows the instruction; those that do not (Intel before Broadwell) take it for a no-op.
  static void prefetch_line_for_write(const void* line) noexcept {
    asm volatile("prefetchw %0" : : "m"(*static_cast<const char*>(line)));
  }
  static void prefetch_for_read(const void* line) noexcept {
    __builtin_prefetch(line, 0);
    __builtin_prefetch(static_cast<const char*>(line) + 64, 0);
  }
  static void pause(unsigned times) noexcept {
    for (; times != 0; --times) _mm_pause();
  }
};

}  // namespace ipcq::detail
