// Passes a request on to another queue of calls: Client::forward(). docs/design/calls.md, "Forwarded calls", has the
// steps and what a death between them leaves.
//
// For one call, by the thread of both the request's server and the client. Refers to both.
#pragma once

#include <cstddef>
#include <vector>

#include "base/deadline.hpp"
#include "client/call_sender.hpp"
#include "client/server_core.hpp"
#include "layout/forwarded_call.hpp"

namespace ipcq::detail {

class CallForwarding {
 public:
  CallForwarding(CallSender& to, ipcq::Request& request) : sender_(to), to_(to.producer_), request_(request) {}

  Status run(Deadline& deadline) noexcept;

 private:
  Status check() const noexcept;
  ForwardedCall describe() const noexcept;
  // Writes into the request's held entry which ticket it goes on with, or that it does not.
  void note(std::uint64_t ticket) const noexcept;
  void take_note_back() const noexcept;
  // The message for the ticket. `loan`: of the slot that it needs; kNone: it fits in its line.
  void publish(const PublishClaim& claim, const ForwardedCall& call, const SlotLoan& loan) noexcept;
  // Ends the call of a request that was passed on to a queue which has closed meanwhile.
  void end_if_closed(const ForwardedCall& call) noexcept;
  // After the request was passed on: ends what its server has of it.
  void end_request() noexcept;
  Held& held() const noexcept { return server().consumer_.held_of(request_.message_); }
  ServerCore& server() const noexcept { return *request_.core_; }
  std::size_t bytes_of(const ForwardedCall& call) const noexcept {
    return sizeof call + (call.slot == kNone ? call.length : 0);
  }

  CallSender& sender_;
  ProducerCore& to_;
  ipcq::Request& request_;
};

}  // namespace ipcq::detail
