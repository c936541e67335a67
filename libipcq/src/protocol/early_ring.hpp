// The ring as a reader sees it that does not wait for a GPU's executor: messages in slots as soon as they are
// published. Their payloads are complete once `out` carries their tag. Inline messages it sees once they are processed,
// because their processed bytes stand in `out` alone. docs/design/cuda.md, "Clients with a GPU".
#pragma once

#include "protocol/ring.hpp"

namespace ipcq::detail {

template <class A>
class EarlyRing : public Ring<A> {
 public:
  EarlyRing() = default;
  explicit EarlyRing(const Ring<A>& ring) : Ring<A>(ring) {}

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
