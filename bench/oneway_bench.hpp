// The cases of oneway_bench with several producers and consumers.
#pragma once

#include <cstddef>

#include "ipcq/ipcq.hpp"

namespace ipcq::bench {

// oneway_bench_many.cpp
template <unsigned Producers, unsigned Consumers, std::size_t Batch>
double many_rate(Wait wait);
double bare_many_4x4(Wait wait);

}  // namespace ipcq::bench
