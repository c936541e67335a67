// CallOrder: which entries of a client's block have a call under way, in the order in which those began, and whose turn
// it is to be looked at. They are linked, so that a call that ends leaves the order of the others as it was.
//
// Looks go round. A round ends with the call that was the last one when it began: however many others come meanwhile,
// those that are still there from before are looked at again in between.
//
// For one thread. All but the constructor and the loops take constant time.
#pragma once

#include <cstdint>
#include <vector>

namespace ipcq::detail {

class CallOrder {
 public:
  explicit CallOrder(std::uint32_t entries) : links_(entries + 1), turn_(entries), last_of_round_(entries) {
    links_[entries] = {entries, entries};
  }

  std::uint32_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  bool contains(std::uint32_t entry) const noexcept { return links_[entry].next != kNotLinked; }

  // `entry` is not in it. Becomes the last one.
  void add(std::uint32_t entry) noexcept {
    const std::uint32_t last = links_[head()].previous;
    links_[entry] = {last, head()};
    links_[last].next = entry;
    links_[head()].previous = entry;
    ++size_;
  }

  // `entry` is in it.
  void remove(std::uint32_t entry) noexcept {
    const Link link = links_[entry];
    if (turn_ == entry) turn_ = behind(entry);
    if (last_of_round_ == entry) last_of_round_ = link.previous;
    links_[link.previous].next = link.next;
    links_[link.next].previous = link.previous;
    links_[entry] = {};
    --size_;
  }

  // In the order of their beginning, until visit(entry) returns true. Whether it did.
  template <class Visit>
  bool any_of(const Visit& visit) const {
    for (std::uint32_t i = links_[head()].next; i != head(); i = links_[i].next) {
      if (visit(i)) return true;
    }
    return false;
  }

  // The rest of this round and then a whole one, until visit(entry) returns true: then it is the next one's turn.
  // Whether it did. `visit` may not change this object.
  template <class Visit>
  bool any_in_turn(const Visit& visit) {
    if (any_of_round(visit)) return true;
    turn_ = links_[head()].next;
    last_of_round_ = links_[head()].previous;
    return any_of_round(visit);
  }

 private:
  static constexpr std::uint32_t kNotLinked = UINT32_MAX;
  struct Link {
    std::uint32_t previous = kNotLinked, next = kNotLinked;
  };

  template <class Visit>
  bool any_of_round(const Visit& visit) {
    while (turn_ != head()) {
      const std::uint32_t i = turn_;
      turn_ = behind(i);
      if (visit(i)) return true;
    }
    return false;
  }

  // Whose turn it is after that of `entry`.
  std::uint32_t behind(std::uint32_t entry) const noexcept {
    return entry == last_of_round_ ? head() : links_[entry].next;
  }
  // Stands between the last and the first; its turn: the round is over.
  std::uint32_t head() const noexcept { return static_cast<std::uint32_t>(links_.size() - 1); }

  std::vector<Link> links_;
  std::uint32_t turn_;
  std::uint32_t last_of_round_;
  std::uint32_t size_ = 0;
};

}  // namespace ipcq::detail
