// Answers to requests for statistics and dumps, which need a scan of held entries, lines and slots. A thread of its own
// makes them, so that attaching, repairs and a stop do not wait for a scan; all clients that asked meanwhile are
// answered from one scan.
//
// Thread safety: guarded by the broker's mutex, which the thread unlocks for each scan. Invariant: a client has at most
// one open question; it is marked ConnectedClient::asking until it is answered.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "broker/broker_context.hpp"
#include "broker/clients.hpp"
#include "broker/registry.hpp"
#include "broker/statistics.hpp"
#include "control/control.hpp"
#include "layout/text_field.hpp"

namespace ipcq::detail {

// The queue that a request names.
inline std::string queue_of(const Request& request) { return get_text(request.name, sizeof request.name); }

class Answers {
 public:
  // Sends a reply to a client that is still connected. Called with the mutex held.
  using Send = std::function<void(ConnectedClient&, Reply&, const Fd& attachment)>;

  Answers(BrokerContext& context, const Registry& registry, const Statistics& statistics, const Clients& clients,
          Send send)
      : context_(context), registry_(registry), statistics_(statistics), clients_(clients), send_(std::move(send)) {}
  Answers(const Answers&) = delete;
  Answers& operator=(const Answers&) = delete;

  // Queues the question for the thread. False: it is not for statistics or a dump, the client has another open, or no
  // thread could be started.
  bool take(ConnectedClient& client, const Request& request);
  // If no thread could be started: scans in the caller's, with the mutex held. Throws NotFoundError, SystemError.
  Reply answer_at_once(const Request& request, Fd& attachment) const;

  // Without the mutex, once `quitting` is set. Waits for the thread; questions that are left get no answer.
  void join();

 private:
  struct Question {
    std::uint64_t client = 0;  // ConnectedClient::number
    std::uint32_t serial = 0;
    Op op = Op::stats;
    std::string queue;
    bool may_borrow = false;  // a descriptor of the reserve, for its answer
  };
  struct Answer {
    Reply reply;
    Fd attachment;
  };

  void run() noexcept;
  std::vector<Answer> answer(Lock& lock, const std::vector<Question>& asked);
  void attach(const Question& question, const std::string& text, Answer& answer);
  void deliver(const Question& question, Answer& answer);

  BrokerContext& context_;
  const Registry& registry_;
  const Statistics& statistics_;
  const Clients& clients_;
  const Send send_;
  std::vector<Question> questions_;
  std::condition_variable asked_;  // a question has come, or the broker quits
  std::thread thread_;             // from the first question on
};

}  // namespace ipcq::detail
