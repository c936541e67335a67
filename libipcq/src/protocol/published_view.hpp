// The ring as a reader sees it that does not wait for a GPU's executor: messages in slots as soon as they are
// published. Their payloads are complete once `out` carries their tag. Inline messages it sees once they are processed,
// because their processed bytes stand in `out` alone. docs/design/cuda.md, "Clients with a GPU".
//
// A view of a Ring, not a kind of one: what it shows differs where the two have a name in common. It has no state of
// its own and may be copied.
#pragma once

#include "protocol/ring.hpp"

namespace ipcq::detail {

template <class A>
class PublishedView : private Ring<A> {
 public:
  // What a group member needs besides read() and readable().
  using Ring<A>::cursor;
  using Ring<A>::swap_cursor;
  using Ring<A>::help;
  using Ring<A>::finish;
  using Ring<A>::has_finished;
  using Ring<A>::has_handler;
  using Ring<A>::lap;
  using Ring<A>::lines;
  using Ring<A>::out;

  PublishedView() = default;
  explicit PublishedView(const Ring<A>& ring) : Ring<A>(ring) {}

  // As Ring::read(). What was copied before the executor is marked kBeforeExecutor.
  LineRead read(std::uint64_t ticket, Descriptor& d, InlineData& data) const {
    const LineRead r = read_line(this->in(ticket), this->lap(ticket), d, data);
    if (r != LineRead::present || !this->has_handler()) return r;
    if (d.kind == LineKind::inlined) return Ring<A>::read(ticket, d, data);
    d.flags |= kBeforeExecutor;
    return r;
  }
  bool readable(std::uint64_t ticket) const {
    Descriptor d;
    InlineData data;
    return read(ticket, d, data) != LineRead::absent;
  }

  // Whether the executor has finished with the ticket; true for ever after, also when its line serves another lap.
  bool is_processed(std::uint64_t ticket) const {
    const std::uint32_t tag = tag_of(this->out(ticket).unit[0].load_hi(std::memory_order_acquire));
    return static_cast<std::int32_t>(tag - static_cast<std::uint32_t>(this->lap(ticket))) >= 0;
  }
};

}  // namespace ipcq::detail
