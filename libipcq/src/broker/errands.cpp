#include "broker/errands.hpp"

#include <exception>
#include <utility>

#include "base/thread.hpp"
#include "broker/answers.hpp"
#include "control/options_codec.hpp"
#include "ipcq/builtin_handlers.hpp"
#include "ipcq/error.hpp"
#include "layout/text_field.hpp"

namespace ipcq::detail {

namespace {
constexpr std::size_t kMostThreads = 8;

const char* word_for(Op op) {
  switch (op) {
    case Op::create_queue:
    case Op::create_pool:
      return "created";
    case Op::remove_queue:
    case Op::remove_pool:
      return "removed";
    case Op::pause:
      return "paused";
    case Op::resume:
      return "resumed";
    default:
      return "changed";
  }
}

bool is_errand(Op op) noexcept {
  return op == Op::save_state || uses_upload(op) || op == Op::remove_queue || op == Op::remove_pool ||
         op == Op::pause || op == Op::resume;
}
}  // namespace

bool is_of_handler(const Request& request) noexcept {
  const bool for_handler = request.op == Op::open_upload && (request.flags & kForCreation) == 0;
  return for_handler || request.op == Op::save_state || request.op == Op::load_state ||
         request.op == Op::replace_handler;
}

bool uses_upload(Op op) noexcept {
  return op == Op::load_state || op == Op::replace_handler || op == Op::create_queue || op == Op::create_pool;
}

// What a client does to a handler, it does to code that runs as the broker's user, or to what that code has learnt.
bool may_ask_for(const ConnectedClient& client, const Request& request) noexcept {
  return is_of_handler(request) ? is_owner(client.uid) : client.administrates;
}

std::string object_of(const Request& request) {
  const bool of_pool = request.op == Op::create_pool || request.op == Op::remove_pool ||
                       (request.op == Op::open_upload && (request.flags & kOfPool) != 0);
  return (of_pool ? "pool '" : "queue '") + queue_of(request) + "'";
}

bool Errands::take(ConnectedClient& client, const Request& request) {
  if (!is_errand(request.op) || client.asking || !may_ask_for(client, request)) return false;
  if (uses_upload(request.op) && !client.upload) return false;
  if (errands_.size() >= idle_ && threads_.size() < kMostThreads) {
    std::thread more;
    if (start_thread(more, [this] { run(); })) threads_.push_back(std::move(more));
  }
  if (threads_.empty()) return false;
  errands_.push_back({.client = client.number,
                      .request = request,
                      .of_owner = is_owner(client.uid),
                      .who = "client pid " + std::to_string(client.pid) + " of user " + std::to_string(client.uid),
                      .upload = uses_upload(request.op) ? std::move(client.upload) : Fd()});
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
      outcome = outcome_of(errand);
    }
    deliver(errand, outcome);
  }
}

// A handler of a client's own would run as the broker's user, and a state's file be read as that user.
void Errands::create_queue(Errand& errand, const std::string& name) {
  const QueueOptions options = decode_queue_options(read_memfd(errand.upload.get(), "the queue's options"));
  if (!errand.of_owner && (is_handler_file(options.handler) || !options.state_file.empty())) {
    throw PermissionError(object_of(errand.request) + ": names a file, '" +
                          printable(is_handler_file(options.handler) ? options.handler : options.state_file) +
                          "', which only the broker's own user and root may; name a built-in handler, or have one of "
                          "them create it");
  }
  administration_.create_queue(name, options, {context_.max_queues, context_.max_memory});
}

void Errands::carry_out(Errand& errand, Outcome& outcome) {
  const std::string name = queue_of(errand.request);
  const std::string group = get_text(errand.request.group, sizeof errand.request.group);
  switch (errand.request.op) {
    case Op::save_state:
      outcome.saved = changes_.save(name);
      return;
    case Op::load_state:
      return changes_.load(name, std::move(errand.upload));
    case Op::replace_handler:
      return changes_.replace_handler(name, read_memfd(errand.upload.get(), "the handler's name").c_str());
    case Op::create_queue:
      return create_queue(errand, name);
    case Op::create_pool:
      return administration_.create_pool(name,
                                         decode_pool_options(read_memfd(errand.upload.get(), "the pool's options")),
                                         {context_.max_queues, context_.max_memory});
    case Op::remove_queue:
      outcome.messages = administration_.remove_queue(
          name, (errand.request.flags & kAtOnce) != 0 ? Removal::at_once : Removal::if_unused);
      return;
    case Op::remove_pool:
      return administration_.remove_pool(name);
    case Op::pause:
      return administration_.pause(name, group);
    case Op::resume:
      return administration_.resume(name, group);
    default:
      throw UsageError(object_of(errand.request) + ": no errand");
  }
}

Errands::Outcome Errands::outcome_of(Errand& errand) noexcept {
  try {
    Outcome outcome;
    carry_out(errand, outcome);
    if (!is_of_handler(errand.request)) {
      const std::string group = get_text(errand.request.group, sizeof errand.request.group);
      context_.log(LogLevel::info, object_of(errand.request) + (group.empty() ? "" : ", group '" + group + "'") + ": " +
                                       word_for(errand.request.op) + " by " + errand.who);
    }
    return outcome;
  } catch (const NotFoundError& e) {
    return {Refusal::not_found, e.what()};
  } catch (const PermissionError& e) {
    return {Refusal::permission, e.what()};
  } catch (const BackendError& e) {
    return {Refusal::backend, e.what()};
  } catch (const SystemError& e) {
    return {Refusal::shortage, context_.self() + ": " + naming(object_of(errand.request), e.what()), e.code()};
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
  reply.serial = errand.request.serial;
  reply.messages = outcome.messages;
  reply.error = outcome.error;
  const Fd long_text = context_.long_text(outcome.text);
  send_(*client, reply, outcome.saved ? outcome.saved->content : long_text);
}

void Errands::join() {
  asked_.notify_all();
  for (std::thread& t : threads_) t.join();
  threads_.clear();
}

}  // namespace ipcq::detail
