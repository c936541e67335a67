// The cases of gpu_bench, and what those in more than one file agree on. gpu_bench.cpp holds the catalogue.
//
// The process that runs a case never touches CUDA, which does not survive a fork.
#pragma once

#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "common/report.hpp"

namespace ipcq::bench {

// gpu_bench_bare.cpp
void latency_bare(benchmark::State& state);
void inline_bare(benchmark::State& state);
void bulk_bare(benchmark::State& state);

// gpu_bench_queue.cpp
void latency_persistent(benchmark::State& state);
void latency_stream(benchmark::State& state);
void inline_ipcq(benchmark::State& state);
void inline_6x6(benchmark::State& state);
void records_ipcq(benchmark::State& state);
void bulk_4k(benchmark::State& state);
void bulk_1m(benchmark::State& state);
void bulk_1m_stream(benchmark::State& state);

// gpu_bench_consume.cpp
void consume_payload(benchmark::State& state);
void consume_header(benchmark::State& state);
void consume_values(benchmark::State& state);
void consume_ahead(benchmark::State& state);

inline constexpr std::size_t kBatch = 256;
inline constexpr unsigned kLinesLog2 = 14;
inline constexpr std::uint64_t kLines = 1u << kLinesLog2;  // of a bare ring, and of the queue beside it

// `count` messages times IPCQ_BENCH_SCALE, two batches at least.
std::size_t scaled(std::size_t count);

// In us; the first tenth warms up.
inline void report_latency(benchmark::State& state, const std::string& name, std::span<const std::uint64_t> ns) {
  report_times(state, name, kMicroseconds, ns.subspan(ns.size() / 10));
}

}  // namespace ipcq::bench
