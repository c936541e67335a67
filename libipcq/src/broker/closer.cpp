#include "broker/closer.hpp"

#include <sys/socket.h>

#include <cerrno>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "control/control.hpp"

namespace ipcq::detail {
namespace {

// A client decides how long a close blocks its thread. While all are blocked, further sockets wait in the list.
constexpr unsigned kMostThreads = 16;

// Drops the messages that lie in a socket that has been shut down. False at one with a descriptor, which stays.
bool empty_queue(int socket) noexcept {
  for (;;) {
    Incoming message;
    char byte = 0;
    const Peek peeked = peek_next(socket, &byte, sizeof byte, message);
    if (peeked != Peek::message) return true;
    if (message.has_descriptors) return false;
    drop_next(socket);
  }
}

}  // namespace

struct Closer::Work {
  std::mutex mutex;  // guards what follows; not held while a socket is closed
  std::vector<Fd> sockets;
  unsigned threads = 0;

  void run() noexcept {
    for (;;) {
      Fd next;
      {
        const std::scoped_lock lock(mutex);
        if (sockets.empty()) {
          --threads;
          return;
        }
        next = std::move(sockets.back());
        sockets.pop_back();
      }
    }  // closed here, without the mutex
  }
};

Closer::Closer() : work_(std::make_shared<Work>()) {}

Closer::~Closer() {
  bool waiting = false;
  {
    const std::scoped_lock lock(work_->mutex);
    waiting = work_->threads == 0 && !work_->sockets.empty();
  }
  if (waiting) keep_for_ever(std::move(work_));  // no thread could be started: left open rather than closed here
}

void Closer::close_elsewhere(Fd socket) noexcept {
  const std::scoped_lock lock(work_->mutex);
  work_->sockets.push_back(std::move(socket));
  if (work_->threads == kMostThreads) return;
  std::thread thread;
  if (!start_thread(thread, [work = work_] { work->run(); })) return;  // the next call tries again
  ++work_->threads;
  thread.detach();
}

void Closer::hang_up(Fd socket) noexcept {
  if (!socket) return;
  ::shutdown(socket.get(), SHUT_RDWR);  // from here on nothing more comes in
  if (!empty_queue(socket.get())) close_elsewhere(std::move(socket));
}

void Closer::close_listener(Fd listener) noexcept {
  if (!listener) return;
  ::shutdown(listener.get(), SHUT_RDWR);  // a child of this process may have it, too; nobody connects from here on
  for (;;) {
    Fd socket(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (socket) {
      hang_up(std::move(socket));
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
      return close_elsewhere(std::move(listener));
    } else if (errno != EINTR && errno != ECONNABORTED) {
      return;
    }
  }
}

}  // namespace ipcq::detail
