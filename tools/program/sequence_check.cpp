#include "program/sequence_check.hpp"

namespace ipcq::program {

void SequenceCheck::see(std::uint32_t producer, std::uint64_t sequence, std::uint64_t ticket, bool redelivered) {
  Stream& stream = streams_[producer];
  // Ids are unique only while attached: a later ticket with number 0 is the start of another producer with this id.
  const bool successor = stream.begun && sequence == 0 && ticket > stream.last_ticket;
  if (!stream.begun || successor) {
    stream.next = from_start_ || successor ? 0 : sequence;
    stream.begun = true;
  }
  if (sequence < stream.next) {
    if (redelivered && missing_ > 0) {
      --missing_;  // it was counted as missing when its place was passed
    } else {
      ++repeated_;
    }
    return;
  }
  missing_ += sequence - stream.next;
  stream.next = sequence + 1;
  stream.last_ticket = ticket;
}

}  // namespace ipcq::program
