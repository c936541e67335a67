// The requests of clients that take their time: what LiveChanges and Administration do. Threads of their own carry them
// out, without the broker's mutex, so that one does not wait for the compiler that another has started.
//
// Thread safety: take() is called by the control thread with the broker's mutex held; the threads take the mutex
// themselves. Invariant: only requests of those who may ask for them are taken.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "broker/administration.hpp"
#include "broker/broker_context.hpp"
#include "broker/clients.hpp"
#include "broker/live_changes.hpp"
#include "control/control.hpp"

namespace ipcq::detail {

// Whether the request is of a queue's handler or state. (Its upload without another purpose is a state.)
bool is_of_handler(const Request& request) noexcept;
// Whether it needs what the client has uploaded.
bool uses_upload(Op op) noexcept;
// Whether the client may ask for it, one of these errands, or an upload or a drain.
bool may_ask_for(const ConnectedClient& client, const Request& request) noexcept;
// "queue 'q'", or the pool.
std::string object_of(const Request& request);

class Errands {
 public:
  // Sends a reply to a client that is still connected. Called with the mutex held.
  using Send = std::function<void(ConnectedClient&, Reply&, const Fd& attachment)>;

  Errands(BrokerContext& context, LiveChanges& changes, Administration& administration, const Clients& clients,
          Send send)
      : context_(context),
        changes_(changes),
        administration_(administration),
        clients_(clients),
        send_(std::move(send)) {}
  Errands(const Errands&) = delete;
  Errands& operator=(const Errands&) = delete;

  // Queues the request for a thread. False: it is none of these, the client may not, it has another open or uploaded
  // nothing, or no thread could be started.
  bool take(ConnectedClient& client, const Request& request);
  // Without the mutex, once `quitting` is set. Waits for the threads; requests that are left get no answer.
  void join();

 private:
  struct Errand {
    std::uint64_t client = 0;  // ConnectedClient::number
    Request request;
    bool of_owner = false;  // of the broker's own user or root
    std::string who;
    Fd upload;
  };

  struct Outcome {
    Refusal refusal = Refusal::none;
    std::string text{};                           // why
    std::int32_t error = 0;                       // of a shortage: errno
    std::shared_ptr<const KeptState> saved = {};  // by save_state
    std::uint64_t messages = 0;                   // left by remove_queue
  };

  void run() noexcept;
  Outcome outcome_of(Errand& errand) noexcept;
  void carry_out(Errand& errand, Outcome& outcome);
  void create_queue(Errand& errand, const std::string& name);
  void deliver(const Errand& errand, const Outcome& outcome);

  BrokerContext& context_;
  LiveChanges& changes_;
  Administration& administration_;
  const Clients& clients_;
  const Send send_;
  std::vector<Errand> errands_;
  std::condition_variable asked_;  // an errand has come, or the broker quits
  std::size_t idle_ = 0;           // threads that wait for one
  std::vector<std::thread> threads_;
};

}  // namespace ipcq::detail
