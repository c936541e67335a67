#include "streams/stream_reader.hpp"

#include <algorithm>
#include <ipcq/error.hpp>
#include <utility>

#include <fmt/format.h>

#include "program/exit_code.hpp"
#include "program/logging.hpp"
#include "streams/consumer_group.hpp"
#include "streams/entry.hpp"
#include "tasks/keys.hpp"

namespace ipcq::bridge {
namespace {

namespace log = ::ipcq::program::log;
using std::chrono::milliseconds;

constexpr std::string_view kBlock = "500";  // ms; a stop waits for it
constexpr std::size_t kMostClaimed = 64;

}  // namespace

StreamReader::StreamReader(const EngineSettings& settings, Counters& counters, HeldTasks& held)
    : settings_(settings), counters_(counters), held_(held), order_(settings.sources), payloads_(settings.sources) {}

void StreamReader::attach(Connection& connection) {
  connection_ = &connection;
  asked_ = Asked::nothing;
  payloads_.forget_replies();
  adopting_ = inheriting_ < settings_.sources.size() ? settings_.sources.size() : 0;
  adopted_.assign(1, '-');
  adopt_idle_.assign(1, '0');
  granted_ = 0;
  turned_ = false;
  turn_.clear();
  claim_.load(connection);
  adopt_.load(connection);
  if (settings_.rate > 0) tokens_.load(connection);
  create_groups(*connection_, settings_);
}

Clock::time_point StreamReader::due() const {
  return asked_ == Asked::nothing && not_before_ > Clock::now() ? not_before_ : Clock::time_point::max();
}

void StreamReader::step(Room room, std::vector<Task>& tasks, std::vector<Outcome>& refused) {
  for (;;) {
    connection_->exchange();  // also where nothing is asked: the server may have gone
    if (asked_ != Asked::nothing) {
      const Reply reply = asked_ == Asked::fetch ? connection_->next_of_key() : connection_->next();
      if (!reply) return;
      const std::size_t before = tasks.size() + refused.size();
      take(reply.view(), tasks, refused);
      const std::size_t came = tasks.size() + refused.size() - before;
      room.tasks -= std::min(room.tasks, came);
    }
    if (asked_ == Asked::nothing && room.bytes == 0) payloads_.give_back(refused);
    if (stopping_ && payloads_.empty()) return;
    if (asked_ == Asked::nothing) ask(room);
    if (asked_ == Asked::nothing) return;
  }
}

void StreamReader::ask(Room room) {
  if (!payloads_.empty()) {
    payloads_.ask(*connection_, room.bytes);
    asked_ = Asked::fetch;
    return;
  }
  const auto now = Clock::now();
  if (room.tasks == 0 || now < not_before_) return;
  if (inheriting_ < settings_.sources.size()) return ask_claim(room.tasks, Asked::inherit);
  if (adopting_ < settings_.sources.size()) return ask_adopt(room.tasks);
  if (now >= next_claim_) return ask_claim(room.tasks, Asked::claim);
  if (settings_.rate > 0 && granted_ == 0) return ask_tokens(room.tasks);
  ask_read(room.tasks);
}

void StreamReader::ask_adopt(std::size_t room) {
  connection_->append({"EVALSHA", adopt_.digest(), "1", settings_.sources[adopting_].name, settings_.group,
                       settings_.consumer, adopted_, std::to_string(std::min(room, settings_.batch)), adopt_idle_});
  asked_ = Asked::adopt;
}

void StreamReader::ask_claim(std::size_t room, Asked what) {
  const bool own = what == Asked::inherit;
  const auto& stream = settings_.sources[own ? inheriting_ : claiming_].name;
  const auto reason = fmt::format("delivered {} times, and each time its bridge or host has gone", settings_.attempts);
  claims_asked_ = std::min(room, kMostClaimed);
  connection_->append({"EVALSHA", claim_.digest(), "2", stream, dead_key(stream), settings_.group, settings_.consumer,
                       std::to_string(settings_.claim_after.count()), std::to_string(claims_asked_),
                       std::to_string(settings_.attempts), reason, std::to_string(settings_.stay.count()),
                       own ? "own" : "", own ? inherited_ : "-"});
  asked_ = what;
}

void StreamReader::ask_tokens(std::size_t room) {
  connection_->append({"EVALSHA", tokens_.digest(), "1", settings_.sources[0].name + ":rate",
                       fmt::format("{}", settings_.rate), std::to_string(settings_.burst),
                       std::to_string(std::min(room, settings_.batch))});
  asked_ = Asked::tokens;
}

void StreamReader::ask_read(std::size_t room) {
  std::size_t most = std::min(room, settings_.batch);
  if (settings_.rate > 0) most = std::min(most, granted_);
  const auto& sources = settings_.sources;
  if (sources.size() > 1 && !turned_) {
    turn_ = order_.next();
    turned_ = true;
  }
  if (!turn_.empty()) {
    const auto& stream = sources[turn_.front()].name;
    connection_->append({"XREADGROUP", "GROUP", settings_.group, settings_.consumer, "COUNT", std::to_string(most),
                         "STREAMS", stream, ">"});
    asked_ = Asked::read_one;
    return;
  }
  // One of each source where there is not room for more.
  const auto count = std::to_string(std::max<std::size_t>(1, most / sources.size()));
  Command command{"XREADGROUP", "GROUP", settings_.group, settings_.consumer, "COUNT",
                  count,        "BLOCK", kBlock,          "STREAMS"};
  const std::size_t served = std::min(sources.size(), most);  // the first ones, of the highest priorities
  const auto& order = sources.size() > 1 ? order_.next() : std::vector<std::size_t>{0};
  for (std::size_t i = 0; i < served; ++i) command.push_back(sources[order[i]].name);
  for (std::size_t i = 0; i < served; ++i) command.push_back(">");
  connection_->append(command);
  asked_ = Asked::read_all;
  asked_at_ = Clock::now();
}

void StreamReader::take(ReplyView reply, std::vector<Task>& tasks, std::vector<Outcome>& refused) {
  if (asked_ == Asked::fetch) {
    payloads_.take(reply, tasks, refused);
    if (payloads_.awaited() == 0) asked_ = Asked::nothing;
    return;
  }
  const Asked asked = std::exchange(asked_, Asked::nothing);
  if (reply.is_error()) return answer_error(asked, reply);
  switch (asked) {
    case Asked::nothing:
    case Asked::fetch:
      return;
    case Asked::adopt:
      return take_adopted(reply, tasks, refused);
    case Asked::inherit:
    case Asked::claim:
      return take_claimed(asked, reply, tasks, refused);
    case Asked::tokens:
      granted_ = static_cast<std::size_t>(std::max<std::int64_t>(0, reply[0].number()));
      if (granted_ == 0)
        not_before_ = Clock::now() + milliseconds(std::clamp<std::int64_t>(reply[1].number(), 1, 1000));
      return;
    case Asked::read_one: {
      const std::size_t came = take_streams(reply, tasks, refused);
      granted_ -= std::min(granted_, came);
      // One that had all that was asked for may have more, and it is its turn again by its weight.
      if (came > 0) {
        turned_ = false;
        turn_.clear();
      } else {
        turn_.erase(turn_.begin());
      }
      return;
    }
    case Asked::read_all: {
      const std::size_t came = take_streams(reply, tasks, refused);
      granted_ -= std::min(granted_, came);
      empty_at_ = came == 0 ? asked_at_ : Clock::time_point{};
      turned_ = false;
      return;
    }
  }
}

std::size_t StreamReader::take_streams(ReplyView reply, std::vector<Task>& tasks, std::vector<Outcome>& refused) {
  std::size_t came = 0;
  for (std::size_t i = 0; i < reply.size(); ++i) {
    const std::size_t source = source_of(reply[i][0].text());
    const auto entries = reply[i][1];
    for (std::size_t k = 0; k < entries.size(); ++k, ++came) {
      take_entry(source, entries[k][0], entries[k][1], 0, tasks, refused);
    }
  }
  if (came > 0) empty_at_ = {};
  return came;
}

// Entries that are held here have come.
void StreamReader::take_adopted(ReplyView reply, std::vector<Task>& tasks, std::vector<Outcome>& refused) {
  if (reply.size() == 0) {
    ++adopting_;
    adopted_.assign(1, '-');
    return;
  }
  for (std::size_t i = 0; i < reply.size(); ++i) {
    const auto deliveries = static_cast<std::uint32_t>(std::max<std::int64_t>(1, reply[i][1].number()));
    take_entry(adopting_, reply[i][0], reply[i][2], deliveries - 1, tasks, refused);
  }
  adopted_ = fmt::format("({}", reply[reply.size() - 1][0].text());
}

void StreamReader::take_claimed(Asked asked, ReplyView reply, std::vector<Task>& tasks, std::vector<Outcome>& refused) {
  std::size_t& source = asked == Asked::inherit ? inheriting_ : claiming_;
  const auto& stream = settings_.sources[source].name;
  if (const auto dead = static_cast<std::uint64_t>(reply[0].number()); dead > 0) {
    add(counters_.read, dead);
    add(counters_.dead, dead);
    log::warn("stream '{}': {} tasks went to '{}': their bridges or hosts have gone {} times", stream, dead,
              dead_key(stream), settings_.attempts);
  }
  for (std::size_t i = 1; i < reply.size(); ++i) {
    take_entry(source, reply[i][0], reply[i][2], static_cast<std::uint32_t>(reply[i][1].number()), tasks, refused);
  }
  if (reply.size() > 1) {
    add(counters_.taken_over, reply.size() - 1);
    log::info("stream '{}': took over {} tasks {}", stream, reply.size() - 1,
              asked == Asked::inherit
                  ? "of a bridge that had this name"
                  : fmt::format("that nobody has renewed for {} ms", settings_.claim_after.count()));
    empty_at_ = {};
    if (asked == Asked::inherit) inherited_ = fmt::format("({}", reply[reply.size() - 1][0].text());
    if (reply.size() - 1 == claims_asked_) return;  // there may be more
  }
  ++source;
  inherited_.assign(1, '-');
  if (asked == Asked::claim && source == settings_.sources.size()) {
    source = 0;
    next_claim_ = Clock::now() + settings_.claim_after / 4;
    adopting_ = 0;
    adopt_idle_ = std::to_string(settings_.claim_after.count());
  }
}

void StreamReader::take_entry(std::size_t source, ReplyView id, ReplyView fields, std::uint32_t deliveries,
                              std::vector<Task>& tasks, std::vector<Outcome>& refused) {
  const auto now = Clock::now();
  if (!held_.add(source, id.text(), now)) return;  // it is being worked on here
  add(counters_.read);
  Task task{.source = source, .id = std::string(id.text()), .taken = now};
  std::string wrong = read_entry(fields, deliveries, settings_, task);
  if (wrong.empty()) {
    task.payload_key.empty() ? tasks.push_back(std::move(task)) : payloads_.add(std::move(task));
  } else {
    refused.push_back({.task = std::move(task), .ending = Ending::refused, .reason = std::move(wrong)});
  }
}

void StreamReader::answer_error(Asked asked, ReplyView reply) {
  turned_ = false;
  turn_.clear();
  const auto code = reply.error_code();
  // Somebody has deleted the stream or the group, or the server came back without them.
  if (code == "NOGROUP" || code == "UNBLOCKED") {
    log::warn("{}; creating the group anew", reply.text());
    create_groups(*connection_, settings_);
    return;
  }
  // What a script cannot do does not keep tasks from being read.
  if (asked == Asked::claim || asked == Asked::inherit || asked == Asked::adopt) {
    if (Clock::now() - last_warning_ > std::chrono::seconds(10)) {
      log::warn("tasks that others have left cannot be taken over: {}", reply.text());
      last_warning_ = Clock::now();
    }
    inheriting_ = adopting_ = settings_.sources.size();
    next_claim_ = Clock::now() + settings_.claim_after / 4;
    return;
  }
  if (code == "NOPERM") throw PermissionError(std::string(reply.text()));
  if (code == "WRONGTYPE") throw program::Failure(program::kFailure, fmt::format("{}: of a --stream", reply.text()));
  throw ConnectionLost(std::string(reply.text()));
}

std::size_t StreamReader::source_of(std::string_view name) const {
  for (std::size_t i = 0; i < settings_.sources.size(); ++i) {
    if (settings_.sources[i].name == name) return i;
  }
  throw ConnectionLost(fmt::format("the server answers for stream '{}', which was not asked for", name));
}

}  // namespace ipcq::bridge
