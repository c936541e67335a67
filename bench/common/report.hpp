// What a benchmark reports: context at the head, counters of each case, and at the end the figures, ratios and targets
// that compare cases. One thread.
#pragma once

#include <benchmark/benchmark.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace ipcq::bench {

struct TimeUnit {
  const char* name;
  double ns;
};
inline constexpr TimeUnit kNanoseconds{"ns", 1};
inline constexpr TimeUnit kMicroseconds{"us", 1000};

// p50, p99, p99.9 and minimum as counters; p50 is the case's figure under `name`.
void report_times(benchmark::State& state, const std::string& name, TimeUnit unit, std::span<const std::uint64_t> ns);
// A counter of the case, and a figure under `name`.
void report_figure(benchmark::State& state, const std::string& name, const std::string& counter, double value);

struct Target {
  enum class Bound : unsigned char { at_most, at_least, below };
  Bound bound;
  double value;
};
constexpr Target at_most(double value) { return {Target::Bound::at_most, value}; }
constexpr Target at_least(double value) { return {Target::Bound::at_least, value}; }
constexpr Target below(double value) { return {Target::Bound::below, value}; }

double median(std::vector<double> values);
// Of sorted values.
double quantile(std::span<const std::uint64_t> sorted, double q);

// The last lines. One whose cases did not run is left out.
class Summary {
 public:
  // Widths of the columns.
  Summary(int text, int number) : text_(text), number_(number) {}

  void ratio(const char* text, const char* above, const char* below, std::optional<Target> target = {}) const;
  // A figure that is a ratio itself.
  void ratio(const char* text, const char* name, std::optional<Target> target = {}) const;
  // In units of `unit`; so is the target.
  void figure(const char* text, const char* name, double unit, const char* unit_name,
              std::optional<Target> target = {}) const;

 private:
  void print_ratio(const char* text, double value, std::optional<Target> target) const;

  int text_;
  int number_;
};

// The whole of a main(): runs what is registered, then `print_last_lines`. What a case throws ends it by fail().
// Returns the exit code. `add_more_context` is not called for --benchmark_list_tests, which runs no case.
int run_benchmarks(int argc, char** argv, void (*print_last_lines)(), void (*add_more_context)() = nullptr);

}  // namespace ipcq::bench
