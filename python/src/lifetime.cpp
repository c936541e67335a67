#include "lifetime.hpp"

#include <pthread.h>

#include <algorithm>
#include <ipcq/error.hpp>
#include <utility>

#include "interpreter.hpp"

namespace ipcq::python {
namespace {

namespace nb = nanobind;

std::atomic<std::uint32_t> fork_count = 0;
[[maybe_unused]] const int kRegistered = ::pthread_atfork(nullptr, nullptr, [] {
  ++fork_count;
  forget_threads_of_the_parent();
});

struct OpenSessions {
  std::mutex mutex;
  std::vector<std::weak_ptr<SessionState>> all;
};
OpenSessions& open_sessions() {
  static auto* const sessions = new OpenSessions;  // outlives what threads may still do at the process' end
  return *sessions;
}

template <class T>
void forget_ended(std::vector<std::weak_ptr<T>>& all) {
  all.erase(std::remove_if(all.begin(), all.end(), [](const auto& one) { return one.expired(); }), all.end());
}

}  // namespace

std::uint32_t forks() noexcept { return fork_count.load(std::memory_order_relaxed); }

void check_forks(std::uint32_t then, const std::string& where) {
  if (then != forks())
    throw UsageError(where +
                     ": it belongs to the parent process: make another in the child, and start that by "
                     "multiprocessing.get_context('spawn')");
}

SessionState::~SessionState() {
  leave_to_the_process(session_);
  if (is_left_alone()) return;  // the library's own destructor leaves the parent's alone
  nudge_->forget_session();
  const ReleasedGil released;
  session_ = Session();
}

void SessionState::check_open() const {
  if (is_inherited())
    throw UsageError(
        "this session belongs to the parent process, and a fork does not inherit its threads: call ipcq.connect() in "
        "the child, or start it by multiprocessing.get_context('spawn')");
  if (closed_) throw UsageError("the session is closed: open another by ipcq.connect()");
}

void SessionState::add(const std::shared_ptr<EndpointState>& endpoint) {
  const std::lock_guard lock(mutex_);
  if (closed_) throw UsageError("the session was closed while this opened");
  forget_ended(endpoints_);
  endpoints_.push_back(endpoint);
}

void SessionState::close(bool broken_off, bool under_views) {
  if (is_left_alone()) return;
  std::vector<std::weak_ptr<EndpointState>> endpoints;
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    endpoints = std::exchange(endpoints_, {});
  }
  for (const auto& weak : endpoints) {
    if (const auto endpoint = weak.lock()) endpoint->close(broken_off, under_views);
  }
}

void EndpointState::check_owner() const {
  if (is_inherited())
    throw UsageError(
        where_ +
        ": this endpoint belongs to the parent process: connect and open another in the child, or start it "
        "by multiprocessing.get_context('spawn')");
}

void EndpointState::close(bool broken_off, bool under_views) {
  if (is_left_alone() || closed_.exchange(true)) return;
  ends_broken_off_ = broken_off;
  if (views_ == 0 || under_views) finish_close();
}

void EndpointState::end_view() {
  if (--views_ == 0 && closed_ && !ended_ && !is_left_alone()) finish_close();
}

void EndpointState::finish_close() {
  {
    const ReleasedGil released;  // comes back behind the turn's end
    turn_.take();
    const Turn::Given given(turn_);
    end(ends_broken_off_);
  }
  ended_ = true;
  if (held_.load() == 0) drop_session();
}

void EndpointState::let_go() noexcept {
  if (held_.fetch_sub(1) == 1 && ended_ && !is_left_alone()) drop_session();
}

void EndpointState::drop_session() noexcept {
  std::shared_ptr<SessionState> last;
  {
    const Turn::Taken taken(turn_);
    forget();
    last = std::exchange(session_, nullptr);
  }
}

void remember(const std::shared_ptr<SessionState>& session) {
  OpenSessions& sessions = open_sessions();
  const std::lock_guard lock(sessions.mutex);
  forget_ended(sessions.all);
  sessions.all.push_back(session);
}

void close_all_sessions() {
  std::vector<std::weak_ptr<SessionState>> all;
  {
    OpenSessions& sessions = open_sessions();
    const std::lock_guard lock(sessions.mutex);
    all = std::exchange(sessions.all, {});
  }
  for (const auto& weak : all) {
    if (const auto session = weak.lock()) session->close(true, true);
  }
}

}  // namespace ipcq::python
