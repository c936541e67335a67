// Answers that take a look at what is as large as the data path: statistics and dumps. A thread of their own gives
// them, so that attaching, repairs and a stop do not wait for it; whoever asked meanwhile is answered from the same
// look.
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "broker/broker_core.hpp"
#include "ipcq/error.hpp"

namespace ipcq::detail {

bool BrokerCore::has_asked(const ClientState& client) const {
  return std::any_of(questions_.begin(), questions_.end(),
                     [&](const Question& q) { return q.client == client.number; });
}

// False: it is no such question, or there is no thread to be had.
bool BrokerCore::answer_later(const ClientState& client, const Request& request) {
  const bool known = request.op == Op::stats || request.op == Op::dump;
  if (!known || has_asked(client) || !start_thread(answering_, [this] { give_answers(); })) return false;
  questions_.push_back({client.number, request.serial, request.op, get_text(request.name, sizeof request.name)});
  asked_.notify_one();
  return true;
}

Reply BrokerCore::answer_now(const Request& request, Fd& attachment) const {
  const bool stats = request.op == Op::stats;
  attachment = make_memfd(stats ? encode(scan(view_locked()))
                                : to_text(dump_view_locked(get_text(request.name, sizeof request.name))));
  return {};
}

void BrokerCore::give_answers() noexcept {
  std::unique_lock lock(mutex_);
  for (;;) {
    asked_.wait(lock, [this] { return quitting_ || !questions_.empty(); });
    if (quitting_) return;
    // They stay in the list until they are answered, so that a client has one at a time.
    std::vector<Question> asked;
    std::vector<Answer> answers;
    try {
      asked = questions_;
      answers = answers_to(asked);
    } catch (const std::exception& e) {  // no memory
      log(LogLevel::error, "broker '" + name_.name() + "': cannot answer a client: " + e.what());
      answers.resize(asked.size());
      for (Answer& a : answers) a.reply = refuse(Refusal::busy, "broker '" + name_.name() + "': " + e.what());
    }
    for (std::size_t i = 0; i < asked.size(); ++i) send_answer(asked[i], answers[i]);
    questions_.erase(questions_.begin(), questions_.begin() + static_cast<std::ptrdiff_t>(asked.size()));
  }
}

// Opens the mutex.
std::vector<BrokerCore::Answer> BrokerCore::answers_to(const std::vector<Question>& asked) {
  std::vector<Answer> answers(asked.size());
  std::vector<std::optional<DumpView>> dumps(asked.size());
  std::optional<StatsView> stats;
  for (std::size_t i = 0; i < asked.size(); ++i) {
    try {
      if (asked[i].op == Op::dump) dumps[i] = dump_view_locked(asked[i].queue);
      if (asked[i].op == Op::stats && !stats) stats = view_locked();
    } catch (const NotFoundError& e) {
      answers[i].reply = refuse(Refusal::not_found, e.what());
    }
  }
  std::vector<std::string> texts(asked.size());
  {
    const Opened opened(mutex_);
    IPCQ_STEP("stats.scan");
    const std::string counters = stats ? encode(scan(std::move(*stats))) : std::string();
    for (std::size_t i = 0; i < asked.size(); ++i) texts[i] = dumps[i] ? to_text(*dumps[i]) : counters;
    dumps.clear();  // perhaps the last to have a map
  }
  for (std::size_t i = 0; i < asked.size(); ++i) {
    if (answers[i].reply.refusal == Refusal::none) attach(asked[i], texts[i], answers[i]);
  }
  return answers;
}

// Where no descriptor is left, the broker's user and root are answered by one of the reserve.
void BrokerCore::attach(const Question& question, const std::string& text, Answer& answer) {
  for (bool again = false;; again = true) {
    try {
      answer.attachment = make_memfd(text);
      return;
    } catch (const SystemError& e) {
      const ClientState* const client = client_who_asked(question);
      const bool may_borrow = client != nullptr && is_owner(client->uid);
      if (!again && (e.code() == EMFILE || e.code() == ENFILE) && may_borrow && reserve_.lend()) continue;
      const std::string why = "broker '" + name_.name() + "': " + e.what();
      complain(why);
      answer.reply = refuse(Refusal::shortage, why);
      return;
    }
  }
}

// Null when it has gone.
ClientState* BrokerCore::client_who_asked(const Question& question) const {
  const auto it =
      std::find_if(clients_.begin(), clients_.end(), [&](const auto& c) { return c->number == question.client; });
  return it == clients_.end() ? nullptr : it->get();
}

void BrokerCore::send_answer(const Question& question, Answer& answer) {
  ClientState* const client = client_who_asked(question);
  if (client == nullptr || client->suspect) return;  // gone meanwhile
  answer.reply.serial = question.serial;
  if (!send_reply(*client, answer.reply, answer.attachment)) lose_connection(*client);
}

}  // namespace ipcq::detail
