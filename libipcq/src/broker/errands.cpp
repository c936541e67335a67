#include "broker/errands.hpp"

#include <exception>
#include <utility>

#include "base/thread.hpp"
#include "broker/answers.hpp"
#include "ipcq/error.hpp"

namespace ipcq::detail {

namespace {
constexpr std::size_t kMostThreads = 8;
}

bool Errands::take(ConnectedClient& client, const Request& request) {
  const bool uses_upload = request.op == Op::load_state || request.op == Op::replace_handler;
  if (request.op != Op::save_state && !uses_upload) return false;
  if (client.asking || !is_owner(client.uid) || (uses_upload && !client.upload)) return false;
  if (errands_.size() >= idle_ && threads_.size() < kMostThreads) {
    std::thread more;
    if (start_thread(more, [this] { run(); })) threads_.push_back(std::move(more));
  }
  if (threads_.empty()) return false;
  errands_.push_back(
      {client.number, request.serial, request.op, queue_of(request), uses_upload ? std::move(client.upload) : Fd()});
  client.asking = true;
  asked_.notify_one();
  return true;
}

void Errands::run() noexcept {
  Lock lock(context_.mutex);
  for (;;) {
    ++idle_;
    asked_.wait(lock, [this] { return context_.quitting || !errands_.empty(); });
    --idle_;
    if (context_.quitting) return;
    Errand errand = std::move(errands_.front());
    errands_.erase(errands_.begin());
    Outcome outcome;
    {
      const Unlocked unlocked(lock);
      outcome = carry_out(errand);
    }
    deliver(errand, outcome);
  }
}

Errands::Outcome Errands::carry_out(Errand& errand) noexcept {
  try {
    if (errand.op == Op::save_state) return {.saved = changes_.save(errand.queue)};
    if (errand.op == Op::load_state) {
      changes_.load(errand.queue, std::move(errand.upload));
    } else {
      const std::string text = read_memfd(errand.upload.get(), "the handler's name");
      changes_.replace_handler(errand.queue, text.c_str());
    }
    return {};
  } catch (const NotFoundError& e) {
    return {Refusal::not_found, e.what()};
  } catch (const PermissionError& e) {
    return {Refusal::permission, e.what()};
  } catch (const BackendError& e) {
    return {Refusal::backend, e.what()};
  } catch (const SystemError& e) {
    return {Refusal::shortage, context_.self() + ": " + e.what()};
  } catch (const std::exception& e) {
    return {Refusal::usage, e.what()};
  }
}

// A compiler's messages are long: a text for which the reply has no room goes beside it, whole.
void Errands::deliver(const Errand& errand, const Outcome& outcome) {
  ConnectedClient* const client = clients_.numbered(errand.client);
  if (client == nullptr) return;  // removed meanwhile
  client->asking = false;
  if (client->suspect) return;
  Reply reply = refuse(outcome.refusal, outcome.text);
  reply.serial = errand.serial;
  Fd long_text;
  if (outcome.text.size() >= sizeof reply.text) {
    try {
      long_text = make_memfd(outcome.text);
    } catch (const SystemError& e) {
      context_.complain(context_.self() + ": " + e.what());  // its beginning has to do
    }
  }
  send_(*client, reply, outcome.saved ? outcome.saved->content : long_text);
}

void Errands::join() {
  asked_.notify_all();
  for (std::thread& t : threads_) t.join();
  threads_.clear();
}

}  // namespace ipcq::detail
