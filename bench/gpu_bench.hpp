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
#include "ipcq/options.hpp"

namespace ipcq::bench {

// gpu_bench_bare.cpp
void latency_bare(benchmark::State& state);
void inline_bare(benchmark::State& state);
void bulk_bare(benchmark::State& state);

// gpu_bench_queue.cpp
void latency_persistent(benchmark::State& state);
void latency_stream(benchmark::State& state);
void latency_call(benchmark::State& state);
void inline_ipcq(benchmark::State& state);
void inline_6x6(benchmark::State& state);
void records_ipcq(benchmark::State& state);
void bulk_4k(benchmark::State& state);
void bulk_1m(benchmark::State& state);
void bulk_1m_stream(benchmark::State& state);

// Into `ns`, which peers share: how long messages of 48 bytes take, one at a time, from one process through the queue
// to another. Each begins with the time, whose bits `flipped` the handler inverts.
void measure_latency(const std::string& handler, ExecutorKind executor, std::uint64_t flipped,
                     std::span<std::uint64_t> ns);

// gpu_bench_consume.cpp
void consume_payload(benchmark::State& state);
void consume_header(benchmark::State& state);
void consume_values(benchmark::State& state);
void consume_ahead(benchmark::State& state);

// gpu_bench_handlers.cpp
void handlers_frames(benchmark::State& state);
void handlers_frames_stream(benchmark::State& state);
void handlers_latency(benchmark::State& state);
void handlers_start(benchmark::State& state);

inline constexpr std::size_t kBatch = 256;
inline constexpr unsigned kLinesLog2 = 14;
inline constexpr std::uint64_t kLines = 1u << kLinesLog2;  // of a bare ring, and of the queue beside it

// `count` messages times IPCQ_BENCH_SCALE, two batches at least.
std::size_t scaled(std::size_t count);

// The first tenth warms up.
inline std::span<const std::uint64_t> warmed_up(std::span<const std::uint64_t> ns) {
  return ns.subspan(ns.size() / 10);
}
// In us.
inline void report_latency(benchmark::State& state, const std::string& name, std::span<const std::uint64_t> ns) {
  report_times(state, name, kMicroseconds, warmed_up(ns));
}

}  // namespace ipcq::bench
