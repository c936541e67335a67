#include "lists/list_reader.hpp"

#include <algorithm>
#include <ipcq/error.hpp>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include "program/exit_code.hpp"
#include "program/logging.hpp"
#include "tasks/keys.hpp"

namespace ipcq::bridge {
namespace {

constexpr std::string_view kBlock = "0.5";  // s; a stop waits for it

std::string too_often(const EngineSettings& settings) {
  return fmt::format("taken {} times, and each time its bridge or host has gone", settings.attempts);
}

}  // namespace

ListReader::ListReader(const EngineSettings& settings, Counters& counters, HeldTasks& held)
    : settings_(settings), counters_(counters), held_(held), order_(settings.sources) {}

void ListReader::attach(Connection& connection) {
  connection_ = &connection;
  asked_ = Asked::nothing;
  adopting_ = inheriting_ < settings_.sources.size() ? settings_.sources.size() : 0;
  granted_ = 0;
  turn_.clear();
  moved_.reset();
  waits_ = false;
  for (Script* script : {&take_, &adopt_, &recover_}) script->load(connection);
  if (settings_.rate > 0) tokens_.load(connection);
  refuse_other_types();
}

void ListReader::refuse_other_types() {
  const std::string_view wanted = settings_.kind == Kind::list ? "list" : "zset";
  for (const auto& source : settings_.sources) {
    const Reply reply = connection_->call({"TYPE", source.name});
    const auto type = reply.view().text();
    if (reply.view().error_code() == "NOPERM") {
      throw PermissionError(fmt::format("'{}': {}; let the user work on this key (ACL SETUSER)", source.name, type));
    }
    if (type == "none" || type == wanted || reply.view().is_error()) continue;
    throw UsageError(fmt::format("--{} {}: the key holds a {}; choose another one", kind(), source.name, type));
  }
}

std::optional<Milliseconds> ListReader::unheard_of(Connection& connection) const {
  std::optional<Milliseconds> least;
  const Reply time = connection.call({"TIME"});
  const auto now = time.view()[0].number() * 1000 + time.view()[1].number() / 1000;
  for (const auto& source : settings_.sources) {
    const auto consumers = consumers_key(source.name);
    const Reply reply = connection.call({"ZSCORE", consumers, settings_.consumer});
    if (reply.view().is_nil() || reply.view().is_error()) continue;
    const Milliseconds idle(now - reply.view().number());
    if (!least || idle < *least) least = idle;
  }
  return least;
}

Clock::time_point ListReader::due() const {
  return asked_ == Asked::nothing && not_before_ > Clock::now() ? not_before_ : Clock::time_point::max();
}

void ListReader::step(Room room, std::vector<Task>& tasks, std::vector<Outcome>& /*refused*/) {
  for (;;) {
    connection_->exchange();  // also where nothing is asked: the server may have gone
    if (asked_ != Asked::nothing) {
      const Reply reply = connection_->next();
      if (!reply) return;
      const std::size_t before = tasks.size();
      take(reply.view(), tasks);
      room.tasks -= std::min(room.tasks, tasks.size() - before);
    }
    if (stopping_ && !moved_) return;
    ask(room.tasks);
    if (asked_ == Asked::nothing) return;
  }
}

void ListReader::ask(std::size_t room) {
  if (moved_) return ask_take(1);
  if (room == 0 || Clock::now() < not_before_) return;
  if (inheriting_ < settings_.sources.size()) {
    const auto& source = settings_.sources[inheriting_];
    connection_->append({"EVALSHA", recover_.digest(), "2", source.name, dead_key(source.name), kind(),
                         settings_.consumer, "0", "128", std::to_string(settings_.attempts), too_often(settings_),
                         source.from, "own"});
    asked_ = Asked::inherit;
    return;
  }
  if (adopting_ < settings_.sources.size()) {
    connection_->append(
        {"EVALSHA", adopt_.digest(), "1", settings_.sources[adopting_].name, kind(), settings_.consumer});
    asked_ = Asked::adopt;
    return;
  }
  if (settings_.rate > 0 && granted_ == 0) {
    connection_->append({"EVALSHA", tokens_.digest(), "1", settings_.sources[0].name + ":rate",
                         fmt::format("{}", settings_.rate), std::to_string(settings_.burst),
                         std::to_string(std::min(room, settings_.batch))});
    asked_ = Asked::tokens;
    return;
  }
  waits_ ? ask_wait() : ask_take(room);
}

void ListReader::ask_take(std::size_t room) {
  // What was moved by a waiting command comes first, and nothing more: it may be all that there is room for.
  const bool only_moved = moved_.has_value();
  if (only_moved) turn_ = {0};
  if (turn_.empty()) {
    turn_ = order_.next();
    round_began_ = Clock::now();
  }
  std::size_t most = only_moved ? 0 : std::min(room, settings_.batch);
  if (settings_.rate > 0) most = std::min(most, granted_);
  const auto& source = settings_.sources[turn_.front()];
  const auto count = std::to_string(most);
  Command command{"EVALSHA", take_.digest(), "1", source.name, kind(), settings_.consumer, count, source.from};
  if (only_moved) command.push_back(*moved_);
  connection_->append(command);
  asked_ = Asked::take;
}

void ListReader::ask_wait() {
  const auto& source = settings_.sources[0];
  const auto taken = taken_key(source.name, settings_.consumer);
  connection_->append({"BLMOVE", source.name, taken, source.from == "right" ? "RIGHT" : "LEFT", "RIGHT", kBlock});
  asked_ = Asked::wait;
}

void ListReader::take(ReplyView reply, std::vector<Task>& tasks) {
  const Asked asked = std::exchange(asked_, Asked::nothing);
  if (reply.is_error()) return answer_error(reply);
  switch (asked) {
    case Asked::nothing:
      return;
    case Asked::inherit:
      if (reply[0].number() + reply[1].number() == 0) ++inheriting_;  // else there may be more
      add(counters_.read, static_cast<std::uint64_t>(reply[1].number()));
      add(counters_.dead, static_cast<std::uint64_t>(reply[1].number()));
      return;
    case Asked::adopt:
      return adopt(reply, tasks);
    case Asked::tokens:
      granted_ = static_cast<std::size_t>(std::max<std::int64_t>(0, reply[0].number()));
      if (granted_ == 0)
        not_before_ = Clock::now() + Milliseconds(std::clamp<std::int64_t>(reply[1].number(), 1, 1000));
      return;
    case Asked::take:
      return take_tasks(reply, tasks);
    case Asked::wait:
      waits_ = false;
      if (!reply.is_nil()) moved_ = reply.text();
      return;
  }
}

// What is in work here, and was read before the connection was lost, is among it.
void ListReader::adopt(ReplyView reply, std::vector<Task>& tasks) {
  const std::size_t source = adopting_++;
  std::unordered_map<std::string, std::size_t> seen;
  for (std::size_t i = 0; i < reply.size(); ++i) {
    const std::string payload(reply[i][0].text());
    if (++seen[payload] <= held_.count(source, payload)) continue;
    add_task(source, payload, static_cast<std::uint32_t>(reply[i][1].number()), tasks);
  }
}

void ListReader::take_tasks(ReplyView reply, std::vector<Task>& tasks) {
  const std::size_t source = turn_.front();
  for (std::size_t i = 0; i < reply.size(); ++i) {
    add_task(source, reply[i][0].text(), static_cast<std::uint32_t>(reply[i][1].number()), tasks);
  }
  granted_ -= std::min(granted_, reply.size());
  moved_.reset();
  if (reply.size() > 0) {
    empty_at_ = {};
    turn_.clear();
    return;
  }
  turn_.erase(turn_.begin());
  if (!turn_.empty()) return;
  empty_at_ = round_began_;
  if (settings_.kind == Kind::list && settings_.sources.size() == 1) {
    waits_ = true;
  } else {
    not_before_ = Clock::now() + settings_.poll;
  }
}

void ListReader::add_task(std::size_t source, std::string_view payload, std::uint32_t attempts,
                          std::vector<Task>& tasks) {
  const auto now = Clock::now();
  held_.add_one_more(source, payload, now);
  add(counters_.read);
  tasks.push_back({.source = source,
                   .id = std::string(payload),
                   .origin = std::string(payload),
                   .payload = std::string(payload),
                   .attempt = attempts + 1,
                   .taken = now});
}

void ListReader::answer_error(ReplyView reply) {
  const auto code = reply.error_code();
  if (code == "NOPERM") throw PermissionError(std::string(reply.text()));
  if (code == "WRONGTYPE") {
    throw program::Failure(program::kFailure, fmt::format("{}: of a --{}", reply.text(), kind()));
  }
  if (code != "OOM") throw ConnectionLost(std::string(reply.text()));
  // A full server cannot move a task to what is taken. Outcomes of those that are can be written.
  const auto now = Clock::now();
  if (now - last_warning_ > std::chrono::seconds(10)) {
    program::log::warn("no tasks can be taken: {}", reply.text());
    last_warning_ = now;
  }
  not_before_ = now + std::chrono::seconds(1);
}

}  // namespace ipcq::bridge
