// One call of Consumer::consume(): shows messages to a callback where they lie. docs/design/ring.md, "Receive in
// place".
//
// For the consumer's thread. Refers to the consumer's core and to the callback, which must outlive it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "client/consumer_core.hpp"

namespace ipcq::detail {

class Consumption {
 public:
  Consumption(ConsumerCore& core, const MessageCallback& callback) noexcept;

  // Waits for the first message only. Throws what the callback throws; that message and those behind it, which were
  // claimed together with it, are given back before.
  BatchResult run(std::size_t limit, Deadline& deadline);

 private:
  // Claims or takes up to `want` messages and shows them. `wanted`: whether the callback wants more.
  Status show_some(std::size_t want, Deadline& deadline, std::size_t& count, bool& wanted);
  // Claims up to `want` lines: tickets [ticket, ticket + taken.count).
  Status claim(std::size_t want, Deadline& deadline, std::uint64_t& ticket, Taken& taken) noexcept;
  // Both show messages and add their number to `count`. False: the callback wants no more.
  bool show_lines(std::uint64_t ticket, std::uint64_t end, std::size_t& count);
  // The next claimed message, where it is not one of a plain line with the usual head. False: the line has none.
  bool find_message(std::uint64_t ticket, MessageView& view, InlineData& data) noexcept;
  bool show_held(std::span<Message> messages, std::size_t& count);
  // Gives the claimed tickets [ticket, end) back to the group. `shown`: the user has seen the first.
  void return_lines(std::uint64_t ticket, std::uint64_t end, bool shown) noexcept;

  ConsumerCore& core_;
  const MessageCallback& callback_;
  const bool shows_lines_;
  const std::size_t held_at_once_;
};

}  // namespace ipcq::detail
