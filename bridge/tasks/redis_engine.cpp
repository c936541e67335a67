#include "tasks/redis_engine.hpp"

#include <algorithm>
#include <ipcq/error.hpp>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "program/exit_code.hpp"
#include "program/logging.hpp"
#include "tasks/keys.hpp"
#include "tasks/start_checks.hpp"

namespace ipcq::bridge {
namespace {

namespace log = ::ipcq::program::log;
using std::chrono::milliseconds;

constexpr milliseconds kFirstPause{50}, kLongestPause{2000};
constexpr milliseconds kSteady{5000};  // after which a connection counts as one that works
constexpr milliseconds kTell{10'000};  // between warnings of one cause

}  // namespace

RedisEngine::RedisEngine(EngineSettings settings, const Kinds& kinds, Counters& counters, Milliseconds wait_for)
    : settings_(std::move(settings)),
      counters_(counters),
      held_(settings_.sources.size()),
      reader_(kinds.reader(settings_, counters, held_)),
      finisher_(settings_, counters, held_) {
  const auto until = Clock::now() + wait_for;
  for (bool told = false, begun = false; !begun;) {
    try {
      connect();
      refuse_wrong_results(*finishing_, settings_);
      refuse_missing_permissions(*finishing_, settings_);
      refuse_namesake(*finishing_, settings_, *reader_);
      begun = true;
    } catch (const ConnectionLost& lost) {
      disconnect();
      if (Clock::now() + kFirstPause > until) {
        throw NotFoundError(fmt::format(
            "no Redis or Valkey server to work with: {}; start one, or say by --redis (or IPCQ_REDIS_URL) where it is; "
            "`ipcq-redis doctor` examines it",
            lost.what()));
      }
      if (!std::exchange(told, true)) log::info("waiting for {}: {}", settings_.address.text(), lost.what());
      std::this_thread::sleep_for(kFirstPause);
    }
  }
  keeper_ = std::make_unique<Keeper>(settings_, kinds.chores(settings_, counters_, held_), counters_);
  keeper_->move_to(connected_to_);
}

RedisEngine::~RedisEngine() = default;

void RedisEngine::connect() {
  // The node of a cluster that had the keys, or the address that was given, where that does not answer.
  const Address address = moved_ ? *std::exchange(moved_, std::nullopt) : locate(settings_.address, settings_.patience);
  try {
    auto finishing = std::make_unique<Connection>(address, "ipcq-redis-writer", settings_.patience);
    auto reading = std::make_unique<Connection>(address, "ipcq-redis-reader", settings_.patience);
    finisher_.attach(*finishing);
    reader_->attach(*reading);
    if (settings_.kind != Kind::stream) {
      listening_ = std::make_unique<Connection>(address, "ipcq-redis-listener", settings_.patience);
      listen(*listening_);
    }
    reading_ = std::move(reading);
    finishing_ = std::move(finishing);
  } catch (const Moved& moved) {
    moved_ = moved.to();
    throw;
  }
  if (keeper_ != nullptr) keeper_->move_to(address);
  connected_to_ = address;
  counters_.connected = true;
  connected_at_ = Clock::now();
  if (pause_ < kFirstPause) pause_ = kFirstPause;
}

// Whoever adds a task may say so: by a message to SOURCE:wake, or the server does, by its keyspace events.
void RedisEngine::listen(Connection& connection) const {
  std::vector<std::string> channels;
  for (const auto& source : settings_.sources) {
    channels.push_back(wake_channel(source.name));
    channels.push_back(fmt::format("__keyspace@{}__:{}", settings_.address.database, source.name));
  }
  Command command{"SUBSCRIBE"};
  command.insert(command.end(), channels.begin(), channels.end());
  connection.listen(command);
}

void RedisEngine::step(Room room, std::vector<Task>& tasks) {
  try {
    if (reading_ == nullptr) {
      if (Clock::now() < next_connect_) return;
      connect();
      add(counters_.reconnects);
      log::info("{}: connected again", connected_to_.text());
    }
    if (listening_ != nullptr) {
      listening_->exchange();
      for (Reply news = listening_->next(); news; news = listening_->next()) {
        if (news.view()[0].text() == "message") reader_->wake();
      }
    }
    reader_->step(room, tasks, refused_);
    take_refused();
    finisher_.step();
    if (pause_ != kFirstPause && Clock::now() - connected_at_ > kSteady) pause_ = kFirstPause;
  } catch (const ConnectionLost& lost) {
    this->lose(lost.what());
  } catch (const PermissionError& error) {  // perhaps a password is being changed
    this->lose(error.what());
  }
  take_refused();
}

void RedisEngine::take_refused() {
  if (!refused_.empty()) finisher_.add(std::exchange(refused_, {}));
}

void RedisEngine::disconnect() {
  counters_.connected = false;
  reading_.reset();
  finishing_.reset();
  listening_.reset();
}

void RedisEngine::lose(const char* why) {
  const bool told = std::exchange(last_loss_, why) == why && Clock::now() - told_at_ < kTell;
  if (counters_.connected.exchange(false) && !told) {
    told_at_ = Clock::now();
    log::warn("{}; connecting again, {} tasks wait for it", why, held_.size());
  } else {
    log::debug("{}", why);
  }
  disconnect();
  // Bridges that have lost one server do not come back together.
  next_connect_ = Clock::now() + pause_ / 2 + milliseconds(std::rand() % (pause_.count() / 2 + 1));
  pause_ = std::min(std::max(pause_ * 2, kFirstPause), kLongestPause);
}

void RedisEngine::stop_reading() {
  stopping_ = true;
  reader_->stop();
  keeper_->stop_moving();
}

// Looks that began before the last outcome was written may have missed what became of it, and a look at the sources
// what was moved there behind it.
bool RedisEngine::is_dry() const {
  const auto looks = keeper_->looks();
  const auto empty = reader_->empty_at(), confirmed = finisher_.confirmed_at();
  return looks.last > confirmed && empty > confirmed && looks.quiet_since < empty;
}

void RedisEngine::add_descriptors(std::vector<pollfd>& descriptors) const {
  for (const auto* connection : {reading_.get(), finishing_.get(), listening_.get()}) {
    if (connection == nullptr) continue;
    const short events = connection->has_to_send() ? POLLIN | POLLOUT : POLLIN;
    descriptors.push_back({.fd = connection->fd(), .events = events, .revents = 0});
  }
}

Clock::time_point RedisEngine::due() const {
  return reading_ == nullptr ? next_connect_ : std::min(reader_->due(), finisher_.due());
}

}  // namespace ipcq::bridge
