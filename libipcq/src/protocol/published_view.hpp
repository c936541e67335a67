// The ring for a reader that does not wait for the executor of a device queue: it reads messages in slots from `in`, as
// soon as they are published; the payload is complete once the line in `out` is tagged. It reads inline messages from
// `out`, because only that line has the processed bytes. docs/design/cuda.md, "Clients with a GPU".
//
// Not a Ring: read(), copy() and readable() differ. Thread-safe and copyable as Ring is.
#pragma once

#include <algorithm>
#include <cstdint>

#include "protocol/ring.hpp"

namespace ipcq::detail {

template <class A>
class PublishedView : private Ring<A> {
 public:
  // Needed by GroupMember beside copy() and readable().
  using Ring<A>::cursor;
  using Ring<A>::cursor_word;
  using Ring<A>::swap_cursor;
  using Ring<A>::help;
  using Ring<A>::finisher;
  using Ring<A>::has_finished;
  using Ring<A>::has_handler;
  using Ring<A>::inline_bytes;
  using Ring<A>::lap;
  using Ring<A>::lines;
  using Ring<A>::oldest;
  using Ring<A>::out;
  using Ring<A>::out_lines;
  using Ring<A>::write_out;

  PublishedView() = default;
  explicit PublishedView(const Ring<A>& ring) : Ring<A>(ring) {}

  // As those of Ring. A copy made from `in` is marked kBeforeExecutor.
  LineRead read(std::uint64_t ticket, Descriptor& d, std::byte* data) const {
    const LineRead r = this->read_in(ticket, d, data);
    if (r != LineRead::present || !this->has_handler()) return r;
    if (d.kind == LineKind::inlined) return Ring<A>::read(ticket, d, data);
    d.flags = static_cast<std::uint8_t>((d.flags & ~kFiltered) | kBeforeExecutor);  // no handler has seen it yet
    return r;
  }
  LineRead copy(std::uint64_t ticket, StoredDescriptorOf<A>& to, std::byte* data, LineKind& kind) const {
    Descriptor d;
    const LineRead r = read(ticket, d, data);
    kind = d.kind;
    if (r == LineRead::present && carries_message(d)) to.store(d);
    return r;
  }
  bool readable(std::uint64_t ticket) const {
    Descriptor d;
    InlineData data;
    return read(ticket, d, data.bytes) != LineRead::absent;
  }

  // Whether the executor has finished the ticket. Once true it stays true, also after the line is reused.
  bool is_processed(std::uint64_t ticket) const { return has_reached_lap(this->out(ticket), this->lap(ticket)); }
  // The first ticket from `from` on that the executor has not finished, or else the next to be taken; all before `from`
  // are finished. So are those a lap before: claiming their lines proves it.
  std::uint64_t first_unprocessed(std::uint64_t from) const {
    const std::uint64_t next = this->cursor(kProducers).next;
    std::uint64_t ticket = std::max(from, this->oldest(next));
    while (ticket < next && is_processed(ticket)) ++ticket;
    return ticket;
  }
};

}  // namespace ipcq::detail
