// The requests of clients that take their time: what LiveChanges does. Threads of their own carry them out, without
// the broker's mutex, so that one does not wait for the compiler that another has started.
//
// Thread safety: take() is called by the control thread with the broker's mutex held; the threads take the mutex
// themselves. Invariant: only requests of the broker's own user and of root are taken.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "broker/broker_context.hpp"
#include "broker/clients.hpp"
#include "broker/live_changes.hpp"
#include "control/control.hpp"

namespace ipcq::detail {

class Errands {
 public:
  // Sends a reply to a client that is still connected. Called with the mutex held.
  using Send = std::function<void(ConnectedClient&, Reply&, const Fd& attachment)>;

  Errands(BrokerContext& context, LiveChanges& changes, const Clients& clients, Send send)
      : context_(context), changes_(changes), clients_(clients), send_(std::move(send)) {}
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
    std::uint32_t serial = 0;
    Op op = Op::save_state;
    std::string queue;
    Fd upload;
  };

  struct Outcome {
    Refusal refusal = Refusal::none;
    std::string text{};                           // why
    std::shared_ptr<const KeptState> saved = {};  // by save_state
  };

  void run() noexcept;
  Outcome carry_out(Errand& errand) noexcept;
  void deliver(const Errand& errand, const Outcome& outcome);

  BrokerContext& context_;
  LiveChanges& changes_;
  const Clients& clients_;
  const Send send_;
  std::vector<Errand> errands_;
  std::condition_variable asked_;  // an errand has come, or the broker quits
  std::size_t idle_ = 0;           // threads that wait for one
  std::vector<std::thread> threads_;
};

}  // namespace ipcq::detail
