// The state and the messages of page_rank.cu, for the handler and for the program.
#pragma once

#include <cstddef>
#include <cstdint>

#include <ipcq/handler.hpp>

namespace page_rank {

inline constexpr std::uint64_t kStep = 1;
inline constexpr std::uint64_t kRead = 2;

// A message, in its first bytes. A step leaves what the one before it has changed; a read has ranks behind it, as
// doubles.
struct Task {
  std::uint64_t kind;
  std::uint64_t number;        // of the step, from 1 on
  std::uint64_t first, count;  // nodes to be read
  double change;               // sum over the nodes
  std::uint64_t done;          // 1: it was less than the tolerance, and this step changes nothing
};

// What all lanes of a step add to. A step has the sums of its own, reads those of the step before, and clears those of
// the one behind it.
struct Sums {
  double change;
  double dangling;  // rank of nodes without an edge
};

struct Head {
  std::uint64_t nodes, edges;
  Sums sums[3];
};

// The arrays behind the head. `begin` and `source` say from where edges come to each node.
struct Graph {
  Head* head = nullptr;  // null: the state is too small for what its head says
  std::uint32_t* begin = nullptr;
  std::uint32_t* source = nullptr;
  std::uint32_t* out = nullptr;  // number of edges that leave the node
  double* rank = nullptr;
  double* share[2] = {};  // rank / out: read by one step, written for the next

  IPCQ_HOST_DEVICE Graph(std::byte* state, std::uint64_t bytes) {
    auto* const h = reinterpret_cast<Head*>(state);
    if (bytes < sizeof(Head) || bytes < bytes_for(h->nodes, h->edges)) return;
    head = h;
    std::byte* at = state + sizeof(Head);
    begin = take<std::uint32_t>(at, h->nodes + 1);
    source = take<std::uint32_t>(at, h->edges);
    out = take<std::uint32_t>(at, h->nodes);
    rank = take<double>(at, h->nodes);
    share[0] = take<double>(at, h->nodes);
    share[1] = take<double>(at, h->nodes);
  }
  IPCQ_HOST_DEVICE static std::uint64_t bytes_for(std::uint64_t nodes, std::uint64_t edges) {
    return sizeof(Head) + whole(4 * (nodes + 1)) + whole(4 * edges) + whole(4 * nodes) + 3 * whole(8 * nodes);
  }

 private:
  IPCQ_HOST_DEVICE static std::uint64_t whole(std::uint64_t bytes) { return (bytes + 15) / 16 * 16; }
  template <class T>
  IPCQ_HOST_DEVICE static T* take(std::byte*& at, std::uint64_t count) {
    auto* const array = reinterpret_cast<T*>(at);
    at += whole(count * sizeof(T));
    return array;
  }
};

}  // namespace page_rank
