#include "control/connection.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>

#include "base/peer.hpp"
#include "base/poll_until.hpp"
#include "ipcq/error.hpp"

namespace ipcq::detail {
namespace {

constexpr auto kAnswerWithin = std::chrono::seconds(10);
constexpr auto kConnectEvery = std::chrono::milliseconds(20);
constexpr auto kGoneWithin = std::chrono::seconds(1);  // a broker that hangs up without a word
constexpr std::uint32_t kNoSerial = 0;                 // of a reply that answers no request

[[noreturn]] void throw_deaf(const std::string& broker, const char* what) {
  throw SystemError(ETIMEDOUT, "broker '" + broker + "': " + what + " within " +
                                   std::to_string(std::chrono::seconds(kAnswerWithin).count()) +
                                   " s; is it stopped (SIGSTOP)?");
}

// Whether a process listens there: a child of a dead broker may keep its socket open. Sets `c.process`. Leaves it empty
// if the system does not tell, or if this process lacks something: then `shortage` is the errno.
bool has_listener(Connection& c, int& shortage) {
  shortage = 0;
  c.process = process_behind(c.socket.get());
  if (c.process) return !has_ended(c.process);
  if (errno == ESRCH) return false;
  if (errno != 0 && errno != ENOSYS && errno != EPERM) shortage = errno;
  return true;
}

// Whether it does not matter that a broker may have done it before it went: what changes a queue is not for its
// successor.
bool may_be_asked_again(Op op) { return op == Op::hello || op == Op::stats || op == Op::dump; }

// What to do when nobody answers, judged by what is at the socket's path.
std::string advice(const std::string& broker, const std::string& path) {
  const bool is_path = broker.find('/') != std::string::npos;
  struct stat status {};
  const bool exists = ::lstat(path.c_str(), &status) == 0;
  if (exists && !S_ISSOCK(status.st_mode)) return "no socket has that name; name the broker's, as `ipcq list` shows it";
  const std::string directory = path.substr(0, path.rfind('/') + 1);
  if (is_path && !exists && ::lstat(directory.c_str(), &status) != 0) {
    return "its directory is not there: make it, and start the broker, or name one by its socket as `ipcq list` shows "
           "it";
  }
  return "start one (ipcq-broker --name " + broker +
         " --queue ...) or set IPCQ_BROKER; if one runs, does it have this user and XDG_RUNTIME_DIR? (`ipcq list`; "
         "else "
         "name it by its socket's path)";
}

}  // namespace

std::uint64_t answer_deadline() noexcept { return deadline_after(kAnswerWithin); }

Connection connect_to_broker(const std::string& broker, std::uint64_t appears_by, std::uint64_t& deadline) {
  const std::string path = socket_path_of(broker);
  const std::string object = "broker '" + broker + "' (" + path + ")";
  bool full_before = false;  // the backlog was full at a time that `appears_by` still covered
  for (;;) {
    Connection c{connect_socket(path), {}};
    int error = c.socket ? 0 : errno;
    if (c.socket) {
      if (deadline == 0 || full_before) deadline = answer_deadline();
      if (has_listener(c, error)) {
        if (error != 0) throw_system(error, "pidfd_open", object);
        return c;
      }
      error = ECONNREFUSED;
    }
    if (error == EAGAIN) {  // its backlog is full
      if (deadline == 0) deadline = answer_deadline();
      const std::uint64_t now = now_ns();
      if (now >= std::max(deadline, appears_by)) throw_deaf(broker, "is there, but took no connection");
      full_before = now < appears_by;
    } else {
      deadline = 0;
      const bool absent = error == ENOENT || error == ECONNREFUSED || error == ENOTDIR;
      if (!absent) throw_system(error, "connect", object);
      if (appears_by == 0 || now_ns() >= appears_by) {
        throw NotFoundError("broker '" + broker + "': none answers at " + path + "; " + advice(broker, path));
      }
    }
    std::this_thread::sleep_for(kConnectEvery);
  }
}

void send_request(const Connection& to, const std::string& broker, const Request& request, std::uint64_t deadline,
                  const std::string& behind) {
  const std::string message = std::string(reinterpret_cast<const char*>(&request), sizeof request) + behind;
  while (!send_message(to.socket.get(), message.data(), message.size())) {
    if (errno != EAGAIN) return;
    pollfd p[2] = {{to.socket.get(), POLLOUT, 0}, {to.process.get(), POLLIN, 0}};
    const int ready = poll_until(p, 2, deadline);
    if (ready == 0) throw_deaf(broker, "took no request");
    if (ready < 0 || p[1].revents != 0) return;
  }
}

Reply receive_reply(const Connection& from, const std::string& broker, Fd& attachment, std::uint64_t deadline) {
  const std::string object = "broker '" + broker + "'";
  // A child of the broker's may keep the other end of the socket open after its death. poll() ignores a negative
  // descriptor.
  pollfd p[2] = {{from.socket.get(), POLLIN, 0}, {from.process.get(), POLLIN, 0}};
  const int ready = poll_until(p, 2, deadline);
  if (ready == 0) throw_deaf(broker, "no answer");
  Reply reply;
  const int got = p[0].revents == 0 ? 0 : receive_message(from.socket.get(), &reply, sizeof reply, attachment);
  if (got < 0 && errno == EMFILE) throw_system(EMFILE, "recvmsg", object);
  if (got < 0 && errno == EPROTO) {
    throw LayoutError(object +
                      ": its answer has another size than this library's; use one release of libipcq for both");
  }
  if (got <= 0) throw SystemError(ECONNRESET, object + ": closed the connection; connect again to its successor");
  if (reply.magic != kControlMagic || reply.abi != kAbiVersion) {
    throw LayoutError(object + ": speaks ABI " + std::to_string(reply.abi) + ", this library ABI " +
                      std::to_string(kAbiVersion) + "; use one release of libipcq for both");
  }
  return reply;
}

Introduction introduce(const std::string& broker, const Request& request, Deadline& appears_by) {
  Request first = request;
  first.serial = kNoSerial + 1;
  appears_by.start();
  std::uint64_t gone_by = 0;
  for (std::uint64_t deadline = 0;;) {
    Introduction made;
    made.connection = connect_to_broker(broker, appears_by.at_ns(), deadline);
    send_request(made.connection, broker, first, deadline);
    try {
      made.reply = receive_reply(made.connection, broker, made.attachment, deadline);
    } catch (const SystemError& e) {
      // The broker went while it was asked, which is as if it had not been there. It may take some time: its socket is
      // open until the last of its threads has ended.
      if (gone_by == 0) gone_by = deadline_after(kGoneWithin);
      if (e.code() != ECONNRESET || !may_be_asked_again(request.op) || now_ns() >= gone_by) throw;
      deadline = 0;
      std::this_thread::sleep_for(kConnectEvery);
      continue;
    }
    const bool turned_away = made.reply.serial == kNoSerial && made.reply.refusal == Refusal::busy;
    if (!turned_away) return made;
    if (now_ns() >= deadline) throw SystemError(EUSERS, get_text(made.reply.text, sizeof made.reply.text));
    std::this_thread::sleep_for(kConnectEvery);
  }
}

std::string text_of_refusal(const Reply& reply, const Fd& attachment) {
  return attachment ? read_memfd(attachment.get()) : get_text(reply.text, sizeof reply.text);
}

void throw_refusal(const Reply& reply) { throw_refusal(reply, get_text(reply.text, sizeof reply.text)); }

void throw_refusal(const Reply& reply, const std::string& text) {
  switch (reply.refusal) {
    case Refusal::not_found:
      throw NotFoundError(text);
    case Refusal::permission:
      throw PermissionError(text);
    case Refusal::backend:
      throw BackendError(text);
    case Refusal::shortage:
      throw SystemError(reply.error > 0 ? reply.error : ENOBUFS, text);
    case Refusal::none:
    case Refusal::usage:
    case Refusal::busy:
      break;
  }
  throw UsageError(text);
}

}  // namespace ipcq::detail
