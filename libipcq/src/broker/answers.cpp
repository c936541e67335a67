#include "broker/answers.hpp"

#include <exception>
#include <optional>
#include <utility>

#include "base/crash_point.hpp"
#include "base/thread.hpp"
#include "broker/queue_dump.hpp"
#include "control/stats_codec.hpp"
#include "ipcq/error.hpp"

namespace ipcq::detail {

bool Answers::take(ConnectedClient& client, const Request& request) {
  const bool known = request.op == Op::stats || request.op == Op::dump;
  if (!known || client.asking || !start_thread(thread_, [this] { run(); })) return false;
  questions_.push_back({client.number, request.serial, request.op, queue_of(request), is_owner(client.uid)});
  client.asking = true;
  asked_.notify_one();
  return true;
}

Reply Answers::answer_at_once(const Request& request, Fd& attachment) const {
  attachment = make_memfd(request.op == Op::stats ? encode(scan(statistics_.view()))
                                                  : to_text(dump_of(registry_.find(queue_of(request)))));
  return {};
}

void Answers::run() noexcept {
  Lock lock(context_.mutex);
  for (;;) {
    asked_.wait(lock, [this] { return context_.quitting || !questions_.empty(); });
    if (context_.quitting) return;
    // Taken out without an allocation, so that a question that cannot be answered is not asked for ever.
    const std::vector<Question> asked = std::exchange(questions_, {});
    std::vector<Answer> answers;
    try {
      answers = answer(lock, asked);
    } catch (const std::exception& e) {  // no memory
      context_.log(LogLevel::error, context_.self() + ": cannot answer a client: " + e.what());
      answers.resize(asked.size());
      for (Answer& a : answers) a.reply = refuse(Refusal::busy, context_.self() + ": " + e.what());
    }
    for (std::size_t i = 0; i < asked.size(); ++i) deliver(asked[i], answers[i]);
  }
}

std::vector<Answers::Answer> Answers::answer(Lock& lock, const std::vector<Question>& asked) {
  std::vector<Answer> answers(asked.size());
  std::vector<std::optional<QueueDump>> dumps(asked.size());
  std::optional<StatsView> stats;
  for (std::size_t i = 0; i < asked.size(); ++i) {
    try {
      if (asked[i].op == Op::dump) dumps[i] = dump_of(registry_.find(asked[i].queue));
      if (asked[i].op == Op::stats && !stats) stats = statistics_.view();
    } catch (const NotFoundError& e) {
      answers[i].reply = refuse(Refusal::not_found, e.what());
    }
  }
  std::vector<std::string> texts(asked.size());
  {
    const Unlocked unlocked(lock);
    IPCQ_CRASH_POINT("stats.scan");
    const std::string counters = stats ? encode(scan(std::move(*stats))) : std::string();
    for (std::size_t i = 0; i < asked.size(); ++i) texts[i] = dumps[i] ? to_text(*dumps[i]) : counters;
    dumps.clear();  // may unmap a queue, so without the mutex
  }
  for (std::size_t i = 0; i < asked.size(); ++i) {
    if (answers[i].reply.refusal == Refusal::none) attach(asked[i], texts[i], answers[i]);
  }
  return answers;
}

void Answers::attach(const Question& question, const std::string& text, Answer& answer) {
  try {
    answer.attachment = context_.with_descriptor(question.may_borrow, [&] { return make_memfd(text); });
  } catch (const SystemError& e) {
    const std::string why = context_.self() + ": " + e.what();
    context_.complain(why);
    answer.reply = refuse(Refusal::shortage, why);
  }
}

void Answers::deliver(const Question& question, Answer& answer) {
  ConnectedClient* const client = clients_.numbered(question.client);
  if (client == nullptr) return;  // removed meanwhile
  client->asking = false;
  if (client->suspect) return;
  answer.reply.serial = question.serial;
  send_(*client, answer.reply, answer.attachment);
}

void Answers::join() {
  asked_.notify_all();
  if (thread_.joinable()) thread_.join();
}

}  // namespace ipcq::detail
