// The server's side of calls: receives requests and answers them. docs/design/calls.md. For the server's thread.
//
// Invariant: a request is held, as a message is, until its call's word says that it is answered. So the death of the
// server at any instant leaves one of the two to tell what is to be repaired.
#pragma once

#include <memory>
#include <vector>

#include "client/consumer_core.hpp"
#include "client/forwarded_request.hpp"
#include "ipcq/calls.hpp"
#include "protocol/calls.hpp"

namespace ipcq::detail {

class ServerCore {
 public:
  ServerCore(std::shared_ptr<SessionCore> session, const Attachment& attachment, const ServerOptions& options);

  // Into an empty request.
  Status receive(ipcq::Request& request, Duration timeout) noexcept;
  // One answer. `more`: others follow. `code`: of a failure, whose text `bytes` are.
  Status answer(ipcq::Request& request, Answer kind, std::span<const std::byte> bytes, std::uint32_t code, bool more,
                Deadline& deadline) noexcept;
  Status end(ipcq::Request& request) noexcept;
  Status nack(ipcq::Request& request) noexcept;
  void let_go(ipcq::Request& request) noexcept;
  std::uint64_t deadline_of(const ipcq::Request& request) const noexcept;
  bool is_cancelled(const ipcq::Request& request) const noexcept;
  // For the user to write it.
  std::span<std::byte> open_room(const ipcq::Request& request) const noexcept;
  std::uint64_t cancelled() const noexcept { return cancelled_; }

  const QueueMap& queue() const noexcept { return *consumer_.queue(); }
  int fd() { return consumer_.fd(); }
  void close() noexcept { consumer_.close(); }
  bool is_forked_child() const noexcept { return consumer_.is_forked_child(); }
  bool is_referred_to() const noexcept { return consumer_.holds_any(); }
  const std::shared_ptr<SessionCore>& shared_session() const noexcept { return consumer_.shared_session(); }

 private:
  friend class CallForwarding;
  // The queue whose client has asked, and its pool: this server's, unless the request was passed on.
  const QueueMap& home(const ipcq::Request& request) const noexcept {
    return request.forwarded_ == nullptr ? queue() : *request.forwarded_->home.queue;
  }
  const PoolMap& home_pool(const ipcq::Request& request) const noexcept {
    return request.forwarded_ == nullptr ? consumer_.pool() : *request.forwarded_->home.pool;
  }
  AnswerSide<SharedAtomics> side(const ipcq::Request& request) const noexcept {
    return {home(request).call(request.id()), call_number(request.id()), client_};
  }
  void wake(const ipcq::Request& request) const noexcept { wake_caller(home(request), request.id()); }
  // Throws as SessionCore::find_home().
  const CallHome& home_of_generation(std::uint64_t generation);
  enum class Worth : std::uint8_t {
    to_be_answered,
    nothing,  // nobody waits, the home is gone, or the message is damaged
    unknown,  // this process cannot reach the home: logged
  };
  // Finds the home of a request that was passed on, which may take a question to the broker.
  Worth open_forwarded(ipcq::Request& request) noexcept;
  // Ends what this server has of a request that was passed on. `keeps_slot`: that of the request is the caller's.
  void end_forwarded(ipcq::Request& request, bool keeps_slot) noexcept;
  // Whether the request's call is one, and somebody waits for its answer, as far as that is looked at.
  Worth worth_of(ipcq::Request& request, bool lay_there) noexcept;
  std::span<std::byte> room(const ipcq::Request& request) const noexcept;
  SlotLoan slot_of_request(const ipcq::Request& request) const noexcept;
  // Waits until the caller has read the last reply, but no longer than it waits itself (cancelled).
  Status begin(const ipcq::Request& request, bool over_request, Deadline& deadline) const noexcept;
  // AnswerSide::finish() for the request's call, whose client is woken.
  AnswerSide<SharedAtomics>::After finish_call(const ipcq::Request& request,
                                               const AnswerSide<SharedAtomics>::Last& last, bool redelivers) noexcept;
  // Ends what this server has of the request, after its call was finished.
  Status finish(ipcq::Request& request, AnswerSide<SharedAtomics>::After after) noexcept;
  Status finish_cancelled(ipcq::Request& request) noexcept;
  void count_cancelled() noexcept;

  ConsumerCore consumer_;
  const std::uint32_t client_;
  Endpoint& endpoint_;
  const Wait wait_;
  std::vector<std::unique_ptr<ForwardedRequest>> forwarded_;  // of all requests that were passed on to this server
  std::vector<ForwardedRequest*> spare_;                      // of these, those of no request
  std::vector<CallHome> homes_;
  std::uint64_t cancelled_ = 0;
};

}  // namespace ipcq::detail
