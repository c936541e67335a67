// What runs the protocol templates under Relacy: the atomics policy, planted bugs, and the runs.
//
// Relacy explores interleavings and stale reads of the C++ memory model; it runs each thread's accesses in program
// order, so that a load is never delayed past a later store. Include this header before any other: the templates must
// be read before Relacy redefines the names of the memory orders.
#pragma once

#include "protocol/group_set.hpp"
#include "protocol/in_place.hpp"
// after the templates
#include "relacy_gtest.hpp"
#undef memory_order_relaxed
#undef memory_order_consume
#undef memory_order_acquire
#undef memory_order_release
#undef memory_order_acq_rel
#undef memory_order_seq_cst

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <ostream>
#include <streambuf>
#include <string_view>

namespace ipcq::detail {

// Prints a 16-byte word in Relacy's histories.
inline std::ostream& operator<<(std::ostream& s, const Pair& p) {
  return s << p.lo << ":" << std::hex << p.hi << std::dec;
}

namespace model {

// A planted bug, with which a model must fail. Global: Relacy runs one test at a time, in one thread.
enum class Fault {
  none,
  line_tag_relaxed,     // unit 0 may be observed before the units that it announces
  slot_word_relaxed,    // a slot may be borrowed before its last reader has finished
  wide_load_torn,       // a decision without a swap by the low half of one value and the high half of the next
  held_word_relaxed,    // a held entry may change hands before its content
  groups_ignored,       // a line is reused though a group has not taken it
  said_free_too_early,  // the same, because free_before is too high
  no_sleeper_fence,
  no_publisher_fence,
  no_waker_fence,
  read_after_finish,  // a member finishes a ticket before it reads the line
  armed_overwritten,  // a late sleeper arms over an earlier one's newer value
  sleeper_rings_no_waker,
  publisher_rings_no_waker,
  waker_sleeps_blind,  // does not check again after arming
};
inline Fault fault = Fault::none;

inline rl::memory_order to_rl(std::memory_order order) {
  switch (order) {
    case std::memory_order::relaxed:
      return rl::mo_relaxed;
    case std::memory_order::consume:
      return rl::mo_consume;
    case std::memory_order::acquire:
      return rl::mo_acquire;
    case std::memory_order::release:
      return rl::mo_release;
    case std::memory_order::acq_rel:
      return rl::mo_acq_rel;
    case std::memory_order::seq_cst:
      return rl::mo_seq_cst;
  }
  return rl::mo_seq_cst;
}

inline rl::memory_order word_order(std::memory_order order) {
  return fault == Fault::held_word_relaxed ? rl::mo_relaxed : to_rl(order);
}

struct RelacyAtomics {
  struct Word {
    Word() { raw.store(0, rl::mo_relaxed, RL_INFO); }
    std::uint64_t load(std::memory_order order) const { return raw.load(to_rl(order), RL_INFO); }
    void store(std::uint64_t value, std::memory_order order) { raw.store(value, word_order(order), RL_INFO); }
    bool cas(std::uint64_t expected, std::uint64_t desired, std::memory_order order) {
      return raw.compare_exchange_strong(expected, desired, word_order(order), RL_INFO, rl::mo_relaxed, RL_INFO);
    }
    std::uint64_t fetch_add(std::uint64_t v, std::memory_order order) {
      return raw.fetch_add(v, to_rl(order), RL_INFO);
    }
    std::uint64_t fetch_or(std::uint64_t v, std::memory_order order) { return raw.fetch_or(v, to_rl(order), RL_INFO); }
    std::uint64_t fetch_and(std::uint64_t v, std::memory_order order) {
      return raw.fetch_and(v, to_rl(order), RL_INFO);
    }
    rl::atomic<std::uint64_t> raw;
  };

  // One atomic for both halves, so that a swap is of both. A load reads twice, as the real one does.
  struct Wide {
    Wide() { raw.store(Pair{}, rl::mo_relaxed, RL_INFO); }
    Pair load() const {
      const std::uint64_t low = raw.load(rl::mo_acquire, RL_INFO).lo;
      return {low, raw.load(rl::mo_acquire, RL_INFO).hi};
    }
    Pair load_stable() const {
      if (fault == Fault::wide_load_torn) return load();
      return stable_pair([this] { return raw.load(rl::mo_acquire, RL_INFO).lo; },
                         [this] { return raw.load(rl::mo_acquire, RL_INFO).hi; });
    }
    bool cas(Pair expected, Pair desired) {
      const auto order = fault == Fault::slot_word_relaxed ? rl::mo_relaxed : rl::mo_acq_rel;
      return raw.compare_exchange_strong(expected, desired, order, RL_INFO, rl::mo_relaxed, RL_INFO);
    }
    void store_hi(std::uint64_t value) {
      Pair seen = raw.load(rl::mo_relaxed, RL_INFO);
      Pair to{seen.lo, value};
      const auto order = fault == Fault::slot_word_relaxed ? rl::mo_relaxed : rl::mo_release;
      // Fails only when the caller is not the sole writer.
      RL_ASSERT(raw.compare_exchange_strong(seen, to, order, RL_INFO, rl::mo_relaxed, RL_INFO));
    }
    void init(Pair value) { raw.store(value, rl::mo_release, RL_INFO); }
    rl::atomic<Pair> raw;
  };

  // Two halves: the one with the tag is written last and read first.
  struct Unit {
    Unit() {
      lo.store(0, rl::mo_relaxed, RL_INFO);
      hi.store(0, rl::mo_relaxed, RL_INFO);
    }
    void store(Pair value, std::memory_order order) {
      lo.store(value.lo, rl::mo_relaxed, RL_INFO);
      hi.store(value.hi, fault == Fault::line_tag_relaxed ? rl::mo_relaxed : to_rl(order), RL_INFO);
    }
    Pair load(std::memory_order order) const {
      const std::uint64_t high = hi.load(to_rl(order), RL_INFO);
      return {lo.load(rl::mo_relaxed, RL_INFO), high};
    }
    std::uint32_t copy_to(std::byte* to) const {
      const Pair unit = load(std::memory_order::relaxed);
      std::memcpy(to, &unit, sizeof unit);
      return static_cast<std::uint32_t>(unit.hi >> 32);
    }
    std::uint64_t load_hi(std::memory_order order) const { return hi.load(to_rl(order), RL_INFO); }
    static void write_plain(Unit* to, const std::byte* from, std::size_t bytes) {
      for (; bytes != 0; ++to) {
        Pair two{};
        const std::size_t some = std::min(bytes, sizeof two);
        std::memcpy(&two, from, some);
        to->store(two, std::memory_order::relaxed);
        from += some;
        bytes -= some;
      }
    }
    static void read_plain(const Unit* from, std::byte* to, std::size_t bytes) {
      for (; bytes != 0; ++from) {
        const Pair two = from->load(std::memory_order::relaxed);
        const std::size_t some = std::min(bytes, sizeof two);
        std::memcpy(to, &two, some);
        to += some;
        bytes -= some;
      }
    }
    static const std::byte* plain_bytes(const Unit*) { return nullptr; }  // a reader copies atomics
    rl::atomic<std::uint64_t> lo;
    rl::atomic<std::uint64_t> hi;
  };

  // Memory that is not atomic: Relacy checks every access for races.
  template <class T>
  struct Plain {
    T value{};
    mutable rl::var<int> guard{0};
    T& edit() {
      guard(RL_INFO) = 1;
      return value;
    }
    const T& view() const {
      (void)guard(RL_INFO).load();
      return value;
    }
  };
  template <std::size_t>
  struct PlainTail {
    Plain<std::array<std::byte, kInlineBytes + 8>> bytes;
    std::byte* edit() { return bytes.edit().data(); }
    const std::byte* view() const { return bytes.view().data(); }
  };

  static void prefetch_for_write(const void*) {}
  static void prefetch_for_read(const void*) {}
  static void pause(unsigned) {}
};

inline void yield() { rl::ctx().yield(1, RL_INFO); }

// Receives Relacy's report without allocating: Relacy replaces operator new and delete while it runs.
class Report : public std::streambuf {
 public:
  Report() { setp(text_, text_ + sizeof text_); }
  std::string_view text() const { return {pbase(), static_cast<std::size_t>(pptr() - pbase())}; }

 private:
  static inline char text_[1 << 17];
};

// `iterations` are what continuous integration affords; IPCQ_MODEL_SCALE=100 explores a hundred times as many.
inline rl::iteration_t scaled(rl::iteration_t iterations) {
  const char* const scale = std::getenv("IPCQ_MODEL_SCALE");
  return iterations * (scale == nullptr ? 1 : std::strtoull(scale, nullptr, 10));
}

// Runs `Test` with a planted bug, or none, and returns Relacy's result.
template <class Test>
rl::test_result_e explore(Fault planted, rl::iteration_t iterations,
                          rl::scheduler_type_e scheduler = rl::random_scheduler_type) {
  fault = planted;
  Report report;
  std::ostream out(&report);
  rl::test_params params;
  params.iteration_count = iterations;
  params.search_type = scheduler;
  params.execution_depth_limit = 20'000;
  params.context_bound = 2;
  params.output_stream = &out;
  params.progress_stream = &out;
  rl::simulate<Test>(params);
  fault = Fault::none;
  if (params.test_result != rl::test_result_success && planted == Fault::none) {
    std::cout << report.text() << std::endl;
  }
  return params.test_result;
}

template <class Test>
void expect_sound(rl::iteration_t iterations) {
  EXPECT_EQ(explore<Test>(Fault::none, scaled(iterations)), rl::test_result_success);
}
// All interleavings with at most two preemptions: for tests of few steps.
template <class Test>
void expect_sound_in_all() {
  EXPECT_EQ(explore<Test>(Fault::none, 0, rl::fair_context_bound_scheduler_type), rl::test_result_success);
}
template <class Test>
void expect_found(Fault planted, rl::iteration_t iterations) {
  EXPECT_NE(explore<Test>(planted, iterations), rl::test_result_success) << "the planted bug was not found";
}

}  // namespace model
}  // namespace ipcq::detail
