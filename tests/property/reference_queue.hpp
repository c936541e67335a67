// The reference model of a queue, as simple as possible: a vector of messages, a cursor per group, sets of slots. For
// one thread. world.hpp compares the library with it, step by step.
#pragma once

#include <algorithm>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ipcq/ipcq.hpp"

namespace ipcq::reference {

// A slot, or an alias of one, with the groups that still read it.
struct Node {
  bool is_alias = false;
  std::uint8_t groups = 0;
  std::shared_ptr<Node> parent;  // of an alias
  unsigned parent_group = 0;
};

struct Pool {
  std::uint64_t free_slots = 0;
  std::uint64_t free_aliases = 0;
  std::uint64_t loans = 0;

  void release(const std::shared_ptr<Node>& n, unsigned group) {
    n->groups = static_cast<std::uint8_t>(n->groups & ~(1u << group));
    if (n->groups == 0) give_back(n);
  }
  void give_back(const std::shared_ptr<Node>& n) {
    if (n->is_alias) {
      ++free_aliases;
      release(n->parent, n->parent_group);
    } else {
      ++free_slots;
    }
  }
};

struct Message {
  std::uint64_t ticket = 0;
  std::uint64_t number = 0;    // the content of its payload
  std::uint64_t sequence = 0;  // of its producer
  std::uint32_t producer = 0;
  std::shared_ptr<Node> node;  // none: inline
};

// A message that a group has taken and not released.
struct Held {
  Message message;
  std::uint32_t deliveries = 0;
  std::uint32_t block = 0;   // endpoint whose entry it occupies
  std::uint32_t holder = 0;  // endpoint + 1; 0: given back
};

struct Group {
  std::string name;  // empty: free
  bool durable = false;
  bool lossy = false;
  std::uint32_t members = 0;
  std::uint64_t joined_at = 0;
  std::uint64_t next = 0;
  std::uint64_t delivered = 0;
  std::uint64_t dropped = 0;
  std::uint64_t redelivered = 0;
  std::list<Held> held;
};

class Queue {
 public:
  static constexpr std::uint64_t kLines = 4;
  static constexpr unsigned kGroups = 8;
  static constexpr std::uint32_t kEndpoints = 12;
  static constexpr std::uint32_t kHeldPerConsumer = 3;

  Queue(Pool& p, Backpressure b, const std::vector<GroupOptions>& declared) : pool(&p), backpressure(b) {
    for (std::size_t g = 0; g < declared.size(); ++g) {
      groups[g].name = declared[g].name;
      groups[g].durable = true;
      groups[g].lossy = declared[g].policy == GroupPolicy::lossy;
    }
  }

  std::uint64_t next() const { return messages.size(); }
  std::uint8_t mask() const {
    unsigned m = 0;
    for (unsigned g = 0; g < kGroups; ++g) m |= groups[g].name.empty() ? 0 : 1u << g;
    return static_cast<std::uint8_t>(m);
  }

  // The endpoint that a new client gets: one whose held entries are all free, if there is one.
  std::uint32_t choose_endpoint() const {
    std::uint32_t second = kEndpoints;
    for (std::uint32_t e = 0; e < kEndpoints; ++e) {
      if (used[e]) continue;
      if (occupied(e) == 0) return e;
      if (second == kEndpoints) second = e;
    }
    return second;
  }
  std::uint32_t occupied(std::uint32_t block) const {
    std::uint32_t n = 0;
    for (const auto& g : groups) {
      for (const auto& h : g.held) n += h.block == block ? 1 : 0;
    }
    return n;
  }

  bool has_line() const {
    if (next() < kLines) return true;
    for (const auto& g : groups) {
      if (!g.name.empty() && g.next <= next() - kLines) return false;
    }
    return true;
  }
  // Makes room by the policies: the group that lags most loses its oldest message, if it may.
  bool drop_one(bool for_slot) {
    Group* victim = nullptr;
    std::uint64_t kept = ~std::uint64_t{0};
    for (auto& g : groups) {
      if (g.name.empty()) continue;
      if (!g.lossy && backpressure != Backpressure::drop_oldest) {
        kept = std::min(kept, g.next);
      } else if (victim == nullptr || g.next < victim->next) {
        victim = &g;
      }
    }
    if (victim == nullptr || victim->next >= kept || victim->next >= next()) return false;
    if (!for_slot && next() - victim->next < kLines) return false;
    const Message& m = messages[victim->next++];
    if (m.node) pool->release(m.node, index_of(*victim));
    ++victim->dropped;
    return true;
  }
  bool reserve_line() {
    while (!has_line()) {
      if (!drop_one(false)) return false;
    }
    return true;
  }
  std::shared_ptr<Node> borrow() {
    while (pool->free_slots == 0) {
      if (!drop_one(true)) return nullptr;
    }
    --pool->free_slots;
    return std::make_shared<Node>();
  }
  // Called after reserve_line().
  void publish(Message m) {
    m.ticket = next();
    if (m.node) {
      m.node->groups = mask();
      if (mask() == 0 && !m.node->is_alias) pool->give_back(m.node);
      if (mask() == 0 && m.node->is_alias) ++pool->free_aliases;
    }
    messages.push_back(std::move(m));
  }

  // The status of a consumer's receive(). On ok `got` is the message that it holds.
  Status receive(std::uint32_t endpoint, unsigned g, Until until, Held*& got) {
    Group& group = groups[g];
    Held* oldest = nullptr;
    for (auto& h : group.held) {
      if (h.holder == 0 && (oldest == nullptr || h.message.ticket < oldest->message.ticket)) oldest = &h;
    }
    if (oldest != nullptr) {
      oldest->holder = endpoint + 1;
      ++group.redelivered;
      got = oldest;
      return Status::ok;
    }
    if (occupied(endpoint) == kHeldPerConsumer) return Status::full;
    if (group.next < next()) {
      group.held.push_back({messages[group.next++], 0, endpoint, endpoint + 1});
      got = &group.held.back();
      return Status::ok;
    }
    const bool others =
        std::any_of(group.held.begin(), group.held.end(), [&](const Held& h) { return h.holder != endpoint + 1; });
    if (until == Until::end && end_ticket && *end_ticket == group.next && !others) return Status::end;
    return Status::empty;
  }
  void release(unsigned g, const Held* h, bool clear_bit = true) {
    Group& group = groups[g];
    if (clear_bit && h->message.node) pool->release(h->message.node, g);
    ++group.delivered;
    group.held.remove_if([&](const Held& x) { return &x == h; });
  }
  static void nack(Held* h) {
    h->holder = 0;
    ++h->deliveries;
  }

  // Whether a group of that name exists and is not lossy.
  bool refuses_lossy(const std::string& name) const {
    for (const Group& g : groups) {
      if (g.name == name) return !g.lossy;
    }
    return false;
  }

  // Joins the group of that name, or makes it. Returns its index; kGroups: there is no place for it.
  unsigned join(const std::string& name, bool lossy) {
    for (unsigned g = 0; g < kGroups; ++g) {
      if (groups[g].name == name) return ++groups[g].members, g;
    }
    for (unsigned g = 0; g < kGroups; ++g) {
      if (!groups[g].name.empty()) continue;
      groups[g] = Group{};
      groups[g].name = name;
      groups[g].lossy = lossy;
      groups[g].joined_at = groups[g].next = next();
      groups[g].members = 1;
      return g;
    }
    return kGroups;
  }
  void leave(unsigned g, std::uint32_t endpoint) {
    Group& group = groups[g];
    for (auto& h : group.held) {
      if (h.holder == endpoint + 1) nack(&h);
    }
    if (--group.members != 0 || group.durable) return;
    for (const auto& h : group.held) {
      if (h.message.node) pool->release(h.message.node, g);
    }
    for (; group.next < next(); ++group.next) {
      if (messages[group.next].node) pool->release(messages[group.next].node, g);
    }
    group = Group{};
  }
  void producer_opened() {
    ++producers;
    end_ticket.reset();
  }
  void producer_closed() {
    if (--producers == 0) end_ticket = next();
  }

  unsigned index_of(const Group& g) const { return static_cast<unsigned>(&g - groups); }

  Pool* pool;
  Backpressure backpressure;
  Group groups[kGroups];
  std::vector<Message> messages;
  bool used[kEndpoints] = {};
  std::uint32_t producers = 0;
  std::optional<std::uint64_t> end_ticket;
};

}  // namespace ipcq::reference
