// A client's connection to a broker: connect, send a request, receive the reply. Each step has a deadline, which
// signals do not extend.
//
// Thread safety: one thread at a time uses a connection (RequestChannel has the lock).
#pragma once

#include <cstdint>
#include <string>

#include "base/deadline.hpp"
#include "base/os.hpp"
#include "control/control.hpp"

namespace ipcq::detail {

struct Connection {
  Fd socket;   // not blocking
  Fd process;  // pidfd of the broker; none where this PID namespace does not see it, or the system has no pidfds
};

// Until when a request that begins now must be answered: ten seconds.
std::uint64_t answer_deadline() noexcept;

// Connects to a broker's socket, waiting until `appears_by` for one to appear. `deadline`, 0 at first, becomes that of
// the first request, counted from when a broker was found. A broker whose backlog is full counts as found; it is tried
// again until `deadline` or `appears_by`, whichever is later. If it was full before `appears_by`, the connection begins
// `deadline` anew, so that the request has its time. Throws NotFoundError, PermissionError, SystemError.
Connection connect_to_broker(const std::string& broker, std::uint64_t appears_by, std::uint64_t& deadline);

// One request, and the texts behind it. Throws SystemError: the broker did not take it before `deadline`. Returns also
// if the broker has hung up: receive_reply() then throws, with the broker's reason if it sent one.
void send_request(const Connection& to, const std::string& broker, const Request& request, std::uint64_t deadline,
                  const std::string& behind = {});
// The broker's next reply. Throws SystemError (none came before `deadline`; the broker has gone), LayoutError (of
// another ABI), and what the broker says when it hangs up for a reason.
Reply receive_reply(const Connection& from, const std::string& broker, Fd& attachment, std::uint64_t deadline);

// Connects and makes the first request; tries again while the broker says that it has too many connections, and for a
// second if it hangs up without a word, as one does that ends just then, unless the request changes a queue. Waits
// until `appears_by` for a broker to appear. Throws as the three above; a refusal is returned. The request has
// serial 1.
struct Introduction {
  Connection connection;
  Reply reply;
  Fd attachment;
};
Introduction introduce(const std::string& broker, const Request& request, Deadline& appears_by);

// The text of a refusal, which is in the file beside the reply where the reply cuts it off.
std::string text_of_refusal(const Reply& reply, const Fd& attachment);

// Throws the exception that a refusal stands for, with its text.
[[noreturn]] void throw_refusal(const Reply& reply);
// The same, with a longer text.
[[noreturn]] void throw_refusal(const Reply& reply, const std::string& text);

}  // namespace ipcq::detail
