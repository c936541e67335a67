#include "tasks/keeper.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <utility>

#include "program/logging.hpp"

namespace ipcq::bridge {
namespace {

namespace log = ::ipcq::program::log;

constexpr Milliseconds kPause{500};  // before another connection

}  // namespace

Keeper::Keeper(const EngineSettings& settings, std::unique_ptr<Chores> chores, Counters& counters)
    : patience_(settings.patience),
      chores_(std::move(chores)),
      meter_(settings, counters),
      address_(settings.address),
      thread_([this](const std::stop_token& stop) { run(stop); }) {}

void Keeper::move_to(const Address& address) {
  const std::scoped_lock lock(mutex_);
  has_moved_ = has_moved_ || address != address_;
  address_ = address;
}

void Keeper::run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    Milliseconds pause = kPause;
    try {
      if (connection_ == nullptr || has_moved()) connect(stop);
      auto next = chores_->run(*connection_, Clock::now());
      next = std::min(next, meter_.run(*connection_, Clock::now()));
      pause = std::clamp(std::chrono::ceil<Milliseconds>(next - Clock::now()), Milliseconds(1), Milliseconds(1000));
    } catch (const std::exception& error) {
      log::debug("keeper of tasks: {}", error.what());
      connection_.reset();
      meter_.lose();
    }
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, stop, pause, [] { return false; });
  }
  try {
    if (connection_ != nullptr) chores_->leave(*connection_);
  } catch (const std::exception& error) {
    log::debug("keeper of tasks: {}", error.what());
  }
}

bool Keeper::has_moved() {
  const std::scoped_lock lock(mutex_);
  return std::exchange(has_moved_, false);
}

void Keeper::connect(const std::stop_token& stop) {
  Address address;
  {
    const std::scoped_lock lock(mutex_);
    address = address_;
  }
  auto connection = std::make_unique<Connection>(address, "ipcq-redis-keeper", patience_, stop);
  chores_->attach(*connection);
  meter_.attach(*connection);
  connection_ = std::move(connection);
}

}  // namespace ipcq::bridge
