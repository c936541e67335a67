// PageRank in a queue's state: the graph lies there, and each message is one step for all nodes. The steps of a queue
// follow each other, since a handler with state is called for one message after the other.
//
// page_rank.hpp has the layout of state and messages.
#include <ipcq/handler.hpp>

#include "page_rank.hpp"

struct PageRank {
  double damping = 0.85;
  double tolerance = 1e-6;

  IPCQ_HOST_DEVICE static constexpr bool accepts(std::uint64_t bytes) { return bytes >= sizeof(page_rank::Task); }

  template <class Team>
  IPCQ_HOST_DEVICE void operator()(ipcq::HandlerMessage& m, Team team, ipcq::State state) const {
    const page_rank::Graph g(state.data, state.bytes);
    auto* const task = reinterpret_cast<page_rank::Task*>(m.data);
    if (g.head == nullptr) return m.fail(1);
    // The lanes of other blocks are elsewhere in this message: what they share is of the step before.
    const page_rank::Task t = {task->kind, task->number, task->first, task->count, 0, 0};
    if (t.kind == page_rank::kRead) return read(g, m, t, team);
    const auto& before = g.head->sums[(t.number + 2) % 3];
    const bool done = t.number > 1 && before.change < tolerance;
    if (team.rank() == 0) {
      g.head->sums[(t.number + 1) % 3] = {};
      task->change = before.change;
      task->done = done ? 1 : 0;
    }
    if (!done) step(g, t.number, before.dangling, team);
  }

 private:
  // Step `number`, from 1 on.
  template <class Team>
  IPCQ_HOST_DEVICE void step(const page_rank::Graph& g, std::uint64_t number, double dangling, Team team) const {
    const std::uint64_t nodes = g.head->nodes;
    const double* const from = g.share[number % 2];
    double* const to = g.share[(number + 1) % 2];
    const double base = (1 - damping) / static_cast<double>(nodes) + damping * dangling / static_cast<double>(nodes);
    double change = 0, lost = 0;
    for (std::uint64_t v = team.rank(); v < nodes; v += team.size()) {
      double in = 0;
      for (std::uint32_t e = g.begin[v]; e < g.begin[v + 1]; ++e) in += from[g.source[e]];
      const double rank = base + damping * in;
      change += rank > g.rank[v] ? rank - g.rank[v] : g.rank[v] - rank;
      g.rank[v] = rank;
      const std::uint32_t out = g.out[v];
      to[v] = out == 0 ? 0 : rank / out;
      if (out == 0) lost += rank;
    }
    add(g.head->sums[number % 3].change, change);
    add(g.head->sums[number % 3].dangling, lost);
  }
  template <class Team>
  IPCQ_HOST_DEVICE void read(const page_rank::Graph& g, ipcq::HandlerMessage& m, const page_rank::Task& t,
                             Team team) const {
    // Behind the task, which lanes elsewhere may not have read yet.
    auto* const values = reinterpret_cast<double*>(m.data + sizeof(page_rank::Task));
    const bool there = t.first <= g.head->nodes && t.count <= g.head->nodes - t.first;
    if (!there || !m.resize(sizeof(page_rank::Task) + t.count * sizeof(double))) return m.fail(2);
    for (std::uint64_t i = team.rank(); i < t.count; i += team.size()) values[i] = g.rank[t.first + i];
  }
  IPCQ_HOST_DEVICE static void add(double& to, double value) {
#if defined(__CUDA_ARCH__)
    if (value != 0) atomicAdd(&to, value);
#else
    to += value;
#endif
  }
};
IPCQ_HANDLER(PageRank, damping, tolerance)
