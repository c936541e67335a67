#include "common/report.hpp"

#include <algorithm>
#include <cstdio>
#include <exception>
#include <fstream>
#include <map>
#include <string_view>
#include <vector>

#include "common/peer.hpp"
#include "ipcq/version.hpp"

namespace ipcq::bench {

namespace {

std::map<std::string, double>& figures() {
  static std::map<std::string, double> by_name;
  return by_name;
}

// 0: that case did not run.
double figure_of(const char* name) {
  const auto found = figures().find(name);
  return found != figures().end() ? found->second : 0;
}

bool meets(double value, Target target) {
  switch (target.bound) {
    case Target::Bound::at_most:
      return value <= target.value;
    case Target::Bound::at_least:
      return value >= target.value;
    case Target::Bound::below:
      return value < target.value;
  }
  return false;
}

const char* to_text(Target::Bound bound) {
  switch (bound) {
    case Target::Bound::at_most:
      return "at most";
    case Target::Bound::at_least:
      return "at least";
    case Target::Bound::below:
      return "below";
  }
  return "";
}

void end_line(double value, std::optional<Target> target) {
  if (target) {
    std::printf("   (target %s %g: %s)", to_text(target->bound), target->value,
                meets(value, *target) ? "met" : "MISSED");
  }
  std::printf("\n");
}

std::string cpu_model() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

// Processor and version of ipcq.
void add_context() {
  benchmark::AddCustomContext("cpu", cpu_model());
  benchmark::AddCustomContext("ipcq", std::string(kVersion) + ", ABI " + std::to_string(kAbiVersion));
}

}  // namespace

void report_times(benchmark::State& state, const std::string& name, TimeUnit unit, std::span<const std::uint64_t> ns) {
  std::vector<std::uint64_t> sorted(ns.begin(), ns.end());
  std::sort(sorted.begin(), sorted.end());
  const auto report = [&](const char* what, double q) {
    const double value = quantile(sorted, q) / unit.ns;
    state.counters[std::string(what) + "_" + unit.name] = value;
    return value;
  };
  figures()[name] = report("p50", 0.5);
  report("p99", 0.99);
  report("p999", 0.999);
  report("min", 0);
}

void report_figure(benchmark::State& state, const std::string& name, const std::string& counter, double value) {
  state.counters[counter] = figures()[name] = value;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

double quantile(std::span<const std::uint64_t> sorted, double q) {
  return static_cast<double>(sorted[static_cast<std::size_t>(q * static_cast<double>(sorted.size() - 1))]);
}

void Summary::ratio(const char* text, const char* above, const char* below, std::optional<Target> target) const {
  const double over = figure_of(above), under = figure_of(below);
  if (over == 0 || under == 0) return;
  print_ratio(text, over / under, target);
}

void Summary::ratio(const char* text, const char* name, std::optional<Target> target) const {
  if (figure_of(name) != 0) print_ratio(text, figure_of(name), target);
}

void Summary::print_ratio(const char* text, double value, std::optional<Target> target) const {
  std::printf("%-*s %*.3f", text_, text, number_, value);
  end_line(value, target);
}

void Summary::figure(const char* text, const char* name, double unit, const char* unit_name,
                     std::optional<Target> target) const {
  const double value = figure_of(name) / unit;
  if (value == 0) return;
  std::printf("%-*s %*.2f %s", text_, text, number_, value, unit_name);
  end_line(value, target);
}

int run_benchmarks(int argc, char** argv, void (*print_last_lines)(), void (*add_more_context)()) try {
  // Initialize() takes the argument, and tells nobody.
  const bool lists = std::any_of(argv, argv + argc, [](const std::string_view argument) {
    return argument == "--benchmark_list_tests" || argument == "--benchmark_list_tests=true";
  });
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  add_context();
  if (add_more_context != nullptr && !lists) add_more_context();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  print_last_lines();
  return 0;
} catch (const std::exception& e) {
  fail(e.what());
}

}  // namespace ipcq::bench
