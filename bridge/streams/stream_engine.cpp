#include "streams/stream_engine.hpp"

#include <algorithm>
#include <ipcq/error.hpp>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "program/exit_code.hpp"
#include "program/logging.hpp"

namespace ipcq::bridge {
namespace {

namespace log = ::ipcq::program::log;
using std::chrono::milliseconds;

constexpr milliseconds kFirstPause{50}, kLongestPause{2000};

}  // namespace

StreamEngine::StreamEngine(EngineSettings settings, Counters& counters, Milliseconds wait_for)
    : settings_(std::move(settings)),
      counters_(counters),
      held_(settings_.sources.size()),
      reader_(settings_, counters, held_),
      finisher_(settings_, counters, held_) {
  const auto until = Clock::now() + wait_for;
  for (bool told = false; reading_ == nullptr;) {
    try {
      connect();
    } catch (const ConnectionLost& lost) {
      if (Clock::now() + kFirstPause > until) {
        throw NotFoundError(fmt::format(
            "no Redis or Valkey server to work with: {}; start one, or say by --redis (or IPCQ_REDIS_URL) where it is",
            lost.what()));
      }
      if (!std::exchange(told, true)) log::info("waiting for {}: {}", settings_.address.text(), lost.what());
      std::this_thread::sleep_for(kFirstPause);
    }
  }
  refuse_wrong_keys();
  keeper_ = std::make_unique<StreamKeeper>(settings_, counters_, held_);
}

StreamEngine::~StreamEngine() = default;

void StreamEngine::connect() {
  try {
    auto finishing = std::make_unique<Connection>(settings_.address, "ipcq-redis writer", settings_.patience);
    auto reading = std::make_unique<Connection>(settings_.address, "ipcq-redis reader", settings_.patience);
    finisher_.attach(*finishing);
    reader_.attach(*reading);
    reading_ = std::move(reading);
    finishing_ = std::move(finishing);
  } catch (const Moved& moved) {
    settings_.address = moved.to();
    if (keeper_ != nullptr) keeper_->move_to(moved.to());
    throw;
  }
  counters_.connected = true;
  pause_ = kFirstPause;
}

// Found at the start, so that no task is worked on whose result has no place.
void StreamEngine::refuse_wrong_keys() {
  const auto& results = settings_.results;
  if (results.kind != "stream" && results.kind != "list") return;
  const Reply reply = finishing_->call({"TYPE", results.key});
  const auto type = reply.view().text();
  if (reply.view().is_error() || type == "none" || type == results.kind) return;
  throw UsageError(
      fmt::format("--results {}:{}: the key holds a {}; choose another one", results.kind, results.key, type));
}

void StreamEngine::step(std::size_t room, std::vector<Task>& tasks) {
  try {
    if (reading_ == nullptr) {
      if (Clock::now() < next_connect_) return;
      connect();
      add(counters_.reconnects);
      log::info("{}: connected again", settings_.address.text());
    }
    std::vector<Outcome> refused;
    reader_.step(room, tasks, refused);
    if (!refused.empty()) finisher_.add(std::move(refused));
    finisher_.step();
  } catch (const ConnectionLost& lost) {
    this->lose(lost.what());
  }
}

void StreamEngine::lose(const char* why) {
  if (counters_.connected.exchange(false)) {
    log::warn("{}; connecting again, {} tasks wait for it", why, held_.size());
  } else {
    log::debug("{}", why);
  }
  reading_.reset();
  finishing_.reset();
  // Bridges that have lost one server do not come back together.
  next_connect_ = Clock::now() + pause_ / 2 + milliseconds(std::rand() % (pause_.count() / 2 + 1));
  pause_ = std::min(std::max(pause_ * 2, kFirstPause), kLongestPause);
}

void StreamEngine::stop_reading() {
  stopping_ = true;
  reader_.stop();
  keeper_->stop_moving();
}

void StreamEngine::add_descriptors(std::vector<pollfd>& descriptors) const {
  for (const auto* connection : {reading_.get(), finishing_.get()}) {
    if (connection == nullptr) continue;
    const short events = connection->has_to_send() ? POLLIN | POLLOUT : POLLIN;
    descriptors.push_back({.fd = connection->fd(), .events = events, .revents = 0});
  }
}

Clock::time_point StreamEngine::due() const {
  return reading_ == nullptr ? next_connect_ : std::min(reader_.due(), finisher_.due());
}

}  // namespace ipcq::bridge
