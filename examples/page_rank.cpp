// PageRank of a random graph that stays in the queue's state: in host memory, or on a GPU. Each message is one step;
// the ranks are read by messages, too, and compared with those that this program computes itself. The handler is
// page_rank.cu, beside this program.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <future>
#include <random>
#include <vector>

#include "page_rank.hpp"
#include "process.hpp"

namespace {

using Clock = std::chrono::steady_clock;
using page_rank::Graph;
using page_rank::Task;

constexpr double kDamping = 0.85, kTolerance = 1e-6;
constexpr std::uint64_t kMostSteps = 100;
// From 64 KiB on all blocks of a GPU share a message; a slot's size says how many there are.
constexpr std::size_t kSlot = std::size_t{65} * 32 * 1024;
constexpr std::uint64_t kNodesPerRead = 100'000;

struct Options {
  std::string backend = "auto";
  std::uint64_t nodes = 50'000, edges = 250'000;
  std::string handler = beside_program("page_rank.cu");
};

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

// The state with which a queue begins: a graph of random edges, and a rank of 1 / nodes for each node.
std::vector<std::byte> make_state(std::uint64_t nodes, std::uint64_t edges) {
  std::vector<std::byte> state(Graph::bytes_for(nodes, edges));
  reinterpret_cast<page_rank::Head*>(state.data())->nodes = nodes;
  reinterpret_cast<page_rank::Head*>(state.data())->edges = edges;
  const Graph g(state.data(), state.size());
  std::mt19937_64 random(42);
  std::vector<std::uint32_t> from(edges), to(edges);
  for (std::uint64_t e = 0; e < edges; ++e) {
    from[e] = static_cast<std::uint32_t>(random() % nodes);
    to[e] = static_cast<std::uint32_t>(random() % nodes);
    ++g.out[from[e]];
    ++g.begin[to[e] + 1];
  }
  for (std::uint64_t v = 0; v < nodes; ++v) g.begin[v + 1] += g.begin[v];
  std::vector<std::uint32_t> next(g.begin, g.begin + nodes);
  for (std::uint64_t e = 0; e < edges; ++e) g.source[next[to[e]]++] = from[e];
  const double rank = 1.0 / static_cast<double>(nodes);
  for (std::uint64_t v = 0; v < nodes; ++v) {
    g.rank[v] = rank;
    g.share[1][v] = g.out[v] == 0 ? 0 : rank / g.out[v];
    if (g.out[v] == 0) g.head->sums[0].dangling += rank;
  }
  return state;
}

// The same steps, by this process, in another order: each node gives to those that it points to.
std::vector<double> ranks_of(const Graph& g, std::uint64_t& steps) {
  const std::uint64_t nodes = g.head->nodes;
  std::vector<double> rank(nodes, 1.0 / static_cast<double>(nodes)), next(nodes);
  double change = 1;
  for (steps = 0; steps < kMostSteps && change >= kTolerance; ++steps) {
    double dangling = 0;
    for (std::uint64_t v = 0; v < nodes; ++v) dangling += g.out[v] == 0 ? rank[v] : 0;
    const double base = (1 - kDamping + kDamping * dangling) / static_cast<double>(nodes);
    change = 0;
    for (std::uint64_t v = 0; v < nodes; ++v) {
      double in = 0;
      for (std::uint32_t e = g.begin[v]; e < g.begin[v + 1]; ++e) in += rank[g.source[e]] / g.out[g.source[e]];
      next[v] = base + kDamping * in;
      change += std::abs(next[v] - rank[v]);
    }
    rank.swap(next);
  }
  return rank;
}

void send(ipcq::Producer& out, const Task& task, std::size_t bytes) {
  auto slot = out.loan(kPatience);
  check(slot.status(), "loan");
  std::memcpy(slot->bytes().data(), &task, sizeof task);
  check(slot->publish(std::max(bytes, sizeof task), kPatience), "publish");
}

// All steps, then all ranks.
void produce(const std::string& broker, std::uint64_t nodes) {
  auto session = ipcq::connect({.broker = broker});
  auto out = session.producer("steps");
  const std::size_t bytes = nodes > 20'000 ? 64 * 1024 : 256;  // of a small graph one block takes care
  for (std::uint64_t n = 1; n <= kMostSteps; ++n) send(out, {page_rank::kStep, n, 0, 0, 0, 0}, bytes);
  for (std::uint64_t v = 0; v < nodes; v += kNodesPerRead) {
    send(out, {page_rank::kRead, 0, v, std::min(kNodesPerRead, nodes - v), 0, 0}, bytes);
  }
}

Task task_of(const ipcq::Message& m) {
  Task task{};
  if (!m.processed()) throw std::runtime_error("the handler failed: " + std::to_string(m.failure()));
  std::memcpy(&task, m.bytes().data(), sizeof task);
  return task;
}

struct Result {
  std::uint64_t steps = 0;  // that changed something
  double step_ms = 0;       // all of them
  std::vector<double> rank;
};

Result consume(ipcq::Consumer& in, std::uint64_t nodes) {
  Result r;
  auto start = Clock::now();
  for (std::uint64_t n = 1; n <= kMostSteps; ++n) {
    const auto m = in.receive(kPatience);
    check(m.status(), "receive");
    if (task_of(*m).done != 0) continue;
    r.steps = n;
    r.step_ms = ms_since(start);
  }
  while (r.rank.size() < nodes) {
    const auto m = in.receive(kPatience);
    check(m.status(), "receive");
    const Task task = task_of(*m);
    const std::size_t begin = r.rank.size();
    r.rank.resize(begin + task.count);
    std::memcpy(&r.rank[begin], m->bytes().data() + sizeof task, task.count * sizeof(double));
  }
  return r;
}

void compare(const std::vector<double>& rank, const std::vector<double>& expected) {
  double worst = 0, distance = 0;
  for (std::size_t v = 0; v < rank.size(); ++v) {
    const double away = std::abs(rank[v] - expected[v]);
    worst = std::max(worst, away / expected[v]);
    distance += away;
  }
  std::printf("largest relative difference %.1e, L1 distance %.1e\n", worst, distance);
  if (!(worst <= 1e-4 && distance <= 1e-6)) throw std::runtime_error("the ranks are wrong");
}

void run(const Options& options) {
  const std::vector<std::byte> state = make_state(options.nodes, options.edges);
  const std::string name = "page-rank-" + std::to_string(getpid());
  const std::filesystem::path file = std::filesystem::temp_directory_path() / name;
  std::ofstream(file, std::ios::binary)
      .write(reinterpret_cast<const char*>(state.data()), static_cast<std::streamsize>(state.size()));
  ipcq::Broker broker({.name = name});
  auto start = Clock::now();
  try {
    broker.create("steps", {.slots = 16,
                            .size = kSlot,
                            .handler = options.handler,
                            .state_bytes = state.size(),
                            .state_file = file,
                            .backend = options.backend});
  } catch (...) {
    std::filesystem::remove(file);
    throw;
  }
  std::filesystem::remove(file);
  const double created = ms_since(start);
  auto session = ipcq::connect({.broker = name});
  auto in = session.consumer("steps");
  auto producer = std::async(std::launch::async, [&] { produce(name, options.nodes); });
  const Result result = consume(in, options.nodes);
  producer.get();

  start = Clock::now();
  std::uint64_t steps = 0;
  const std::vector<double> expected =
      ranks_of(Graph(const_cast<std::byte*>(state.data()), state.size()), steps);  // of which it changes nothing
  const double alone = ms_since(start);
  std::printf("%llu nodes, %llu edges: queue made in %.1f ms, %llu steps in %.1f ms (%.1f M edges/s)\n",
              static_cast<unsigned long long>(options.nodes), static_cast<unsigned long long>(options.edges), created,
              static_cast<unsigned long long>(result.steps), result.step_ms,
              static_cast<double>(options.edges * result.steps) / result.step_ms / 1e3);
  std::printf("this process alone: %llu steps in %.1f ms\n", static_cast<unsigned long long>(steps), alone);
  compare(result.rank, expected);
}

}  // namespace

int main(int argc, char** argv) try {
  Options options;
  if ((argc != 1 && argc != 2 && argc != 4) || (argc > 1 && argv[1][0] == '-')) {
    std::fprintf(stderr, "usage: page_rank [auto|host|cuda [NODES EDGES]]\n");
    return 2;
  }
  if (argc > 1) options.backend = argv[1];
  if (argc > 3) options.nodes = number_of("NODES", argv[2]), options.edges = number_of("EDGES", argv[3]);
  run(options);
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
