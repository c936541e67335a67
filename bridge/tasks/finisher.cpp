#include "tasks/finisher.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "program/logging.hpp"
#include "program/printable.hpp"
#include "tasks/keys.hpp"

namespace ipcq::bridge {
namespace {

namespace log = ::ipcq::program::log;
using std::chrono::milliseconds;

constexpr std::size_t kUnderWay = 2;          // batches
constexpr std::size_t kMostBytes = 1U << 20;  // of results in a batch: the server does nothing else meanwhile
constexpr milliseconds kRepeat{1000};
constexpr std::size_t kBeforeRecords = 5;  // arguments of the script

// A task of a list is its payload.
std::string shown(const std::string& origin) {
  constexpr std::size_t kMost = 60;
  return program::printable(origin.size() <= kMost ? origin : origin.substr(0, kMost) + "...", "");
}

}  // namespace

Finisher::Finisher(const EngineSettings& settings, Counters& counters, HeldTasks& held)
    : settings_(settings),
      counters_(counters),
      held_(held),
      owner_(settings.kind == Kind::stream ? settings.group : kind_name(settings.kind)),
      finish_(settings.kind == Kind::stream ? "finish_entries" : "finish_taken"),
      waiting_(settings.sources.size()) {}

void Finisher::attach(Connection& connection) {
  connection_ = &connection;
  finish_.load(connection);
  for (; !sent_.empty(); sent_.pop_back()) {
    auto& batch = sent_.back();
    auto& queue = waiting_[batch.source];
    queue.insert(queue.begin(), std::move_iterator(batch.outcomes.begin()), std::move_iterator(batch.outcomes.end()));
  }
}

void Finisher::add(std::vector<Outcome>&& outcomes) {
  for (auto& outcome : outcomes) waiting_[outcome.task.source].push_back(std::move(outcome));
}

Clock::time_point Finisher::due() const noexcept {
  if (sent_.size() >= kUnderWay) return Clock::time_point::max();
  const bool waits = std::any_of(waiting_.begin(), waiting_.end(), [](const auto& queue) { return !queue.empty(); });
  if (waits) return Clock::time_point{};
  return repeats_.empty() ? Clock::time_point::max() : repeats_.front().due;
}

void Finisher::step() {
  connection_->exchange();
  while (!sent_.empty()) {
    const Reply reply = connection_->next();
    if (!reply) break;
    Batch batch = std::move(sent_.front());
    sent_.pop_front();
    confirm(reply.view(), std::move(batch));
  }
  // What was refused goes by itself, so that it holds nothing else up.
  if (!repeats_.empty() && sent_.size() < kUnderWay && Clock::now() >= repeats_.front().due) {
    Batch batch{.source = repeats_.front().outcome.task.source};
    batch.outcomes.push_back(std::move(repeats_.front().outcome));
    repeats_.pop_front();
    send(std::move(batch));
  }
  for (std::size_t i = 0; i < waiting_.size() && sent_.size() < kUnderWay; ++i) {
    const std::size_t source = (next_source_ + i) % waiting_.size();
    if (!waiting_[source].empty()) send(next_batch(source));
  }
  next_source_ = (next_source_ + 1) % waiting_.size();
  connection_->send();
}

Finisher::Batch Finisher::next_batch(std::size_t source) {
  Batch batch{.source = source};
  std::size_t bytes = 0;
  auto& queue = waiting_[source];
  while (!queue.empty() && batch.outcomes.size() < settings_.batch && bytes < kMostBytes) {
    for (const auto& part : queue.front().parts) bytes += part.size();
    batch.outcomes.push_back(std::move(queue.front()));
    queue.pop_front();
  }
  return batch;
}

void Finisher::send(Batch&& batch) {
  const auto& name = settings_.sources[batch.source].name;
  std::vector<std::string> keys{name, settings_.results.key, delayed_key(name), dead_key(name)};
  std::vector<std::string> arguments{owner_, settings_.consumer, settings_.results.kind,
                                     std::to_string(settings_.stay.count()), std::to_string(settings_.inline_result)};
  for (const auto& outcome : batch.outcomes) append_record(outcome, arguments, keys);
  const auto count = std::to_string(keys.size());
  Command command{"EVALSHA", finish_.digest(), count};
  command.insert(command.end(), keys.begin(), keys.end());
  command.insert(command.end(), arguments.begin(), arguments.end());
  // The parts stand in `arguments` as empty texts, so that they are copied once, into the connection.
  std::size_t at = command.size() - arguments.size() + kBeforeRecords;
  for (const auto& outcome : batch.outcomes) {
    if (outcome.ending != Ending::result) {
      at += outcome.ending == Ending::refused || is_last_attempt(outcome) ? 7 : 6;
      continue;
    }
    at += 6;
    for (const auto& part : outcome.parts) command[at++] = part;
  }
  connection_->append(command);
  sent_.push_back(std::move(batch));
}

void Finisher::append_record(const Outcome& outcome, std::vector<std::string>& arguments,
                             std::vector<std::string>& keys) {
  const Task& task = outcome.task;
  const auto add_all = [&](std::initializer_list<std::string> texts) {
    arguments.insert(arguments.end(), texts.begin(), texts.end());
  };
  const auto reply_index = [&]() -> std::string {
    if (task.reply_to.kind.empty()) return "0";
    keys.push_back(task.reply_to.key);
    return std::to_string(keys.size() - 4);
  };
  if (outcome.ending == Ending::result) {
    add_all({"result", task.id, task.origin, task.reply_to.kind, reply_index(), std::to_string(outcome.parts.size())});
    arguments.resize(arguments.size() + outcome.parts.size());
  } else if (outcome.ending == Ending::refused || is_last_attempt(outcome)) {
    add_all({"dead", task.id, task.origin, std::to_string(task.attempt), outcome.reason, task.reply_to.kind,
             reply_index()});
  } else {
    const auto attempt = task.attempt - (outcome.ending == Ending::given_back ? 1 : 0);
    add_all(
        {"later", task.id, task.origin, std::to_string(attempt), std::to_string(delay_of(outcome)), outcome.reason});
  }
}

bool Finisher::is_last_attempt(const Outcome& outcome) const {
  return outcome.ending == Ending::failed && outcome.task.attempt >= settings_.attempts;
}

// Twice as long after each attempt, and less by a part that differs: what failed together does not come again together.
std::uint64_t Finisher::delay_of(const Outcome& outcome) {
  double ms = 200;
  if (outcome.ending == Ending::failed) {
    ms = static_cast<double>(settings_.backoff.count()) * std::exp2(std::min(outcome.task.attempt - 1, 40U));
    ms = std::min(ms, static_cast<double>(settings_.longest_backoff.count()));
  }
  return static_cast<std::uint64_t>(ms * std::uniform_real_distribution<double>(0.5, 1)(random_));
}

void Finisher::confirm(ReplyView reply, Batch&& batch) {
  confirmed_at_ = Clock::now();
  if (reply.is_error()) {
    refuse(std::move(batch), reply);
    return;
  }
  std::vector<Outcome> ended, again;
  std::string why;
  for (std::size_t i = 0; i < batch.outcomes.size(); ++i) {
    Outcome& outcome = batch.outcomes[i];
    if (!reply[i].is_integer()) {
      why = cause_of(reply[i].text());  // as a script has caught it
      again.push_back(std::move(outcome));
      continue;
    }
    count(outcome, reply[i].number());
    ended.push_back(std::move(outcome));
  }
  held_.remove(ended);
  if (!again.empty()) repeat(batch.source, std::move(again), why);
}

// The server did not run the script. A reply's key that the user may not write, or that lies on another node, has it
// refuse the whole batch: its outcomes go one by one then, and that one without the reply.
void Finisher::refuse(Batch&& batch, ReplyView error) {
  const auto code = error.error_code();
  auto& task = batch.outcomes.front().task;
  if (batch.outcomes.size() == 1 && !task.reply_to.kind.empty() && (code == "NOPERM" || code == "CROSSSLOT")) {
    log::warn("'{}': task {}: nobody can be answered at {}:{}: {}", settings_.sources[batch.source].name,
              shown(task.origin), task.reply_to.kind, task.reply_to.key, error.text());
    bridge::add(counters_.unanswered);
    task.reply_to = {};
    repeats_.push_front({.due = Clock::now(), .outcome = std::move(batch.outcomes.front())});
    return;
  }
  repeat(batch.source, std::move(batch.outcomes), error.text());
}

void Finisher::count(const Outcome& outcome, std::int64_t answer) {
  using std::chrono::duration;
  counters_.record_latency(duration<double>(Clock::now() - outcome.task.taken).count());
  if (answer == 0) {
    bridge::add(counters_.ended_elsewhere);
    return;
  }
  if (answer == 2) bridge::add(counters_.unanswered);
  if (answer == 3) {
    bridge::add(counters_.deleted);
    return;
  }
  if (outcome.ending == Ending::result) {
    bridge::add(counters_.done);
    for (const auto& part : outcome.parts) bridge::add(counters_.result_bytes, part.size());
  } else if (outcome.ending == Ending::given_back) {
    bridge::add(counters_.given_back);
  } else if (outcome.ending == Ending::refused || is_last_attempt(outcome)) {
    bridge::add(counters_.dead);
    log::warn("'{}': task {} went to '{}': {}", settings_.sources[outcome.task.source].name, shown(outcome.task.origin),
              dead_key(settings_.sources[outcome.task.source].name), outcome.reason);
  } else {
    bridge::add(counters_.retried);
    log::debug("'{}': task {} failed ({}. attempt): {}", settings_.sources[outcome.task.source].name,
               shown(outcome.task.origin), outcome.task.attempt, outcome.reason);
  }
}

void Finisher::repeat(std::size_t source, std::vector<Outcome>&& outcomes, std::string_view why) {
  bridge::add(counters_.write_errors, outcomes.size());
  const auto now = Clock::now();
  if (now - last_warning_ > std::chrono::seconds(10)) {
    const auto& results = settings_.results;
    log::warn("{}: {} outcomes of '{}' could not be written, and will be tried again; results go to {}: {}",
              settings_.address.text(), outcomes.size(), settings_.sources[source].name,
              results.key.empty() ? results.kind : results.kind + ":" + results.key, why);
    last_warning_ = now;
  }
  for (auto& outcome : outcomes) repeats_.push_back({.due = now + kRepeat, .outcome = std::move(outcome)});
}

}  // namespace ipcq::bridge
