// Clients and servers of a queue of calls, for process_peer. A request is a stamp (stamped.hpp); a server's replies are
// stamps with the request's producer and sequence, so that a caller can tell an answer that is not its own.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <thread>

#include "ipcq/ipcq.hpp"
#include "process/records.hpp"

namespace ipcq_test {

inline void pause_if(ipcq::Duration d) {
  if (d > ipcq::Duration::zero()) std::this_thread::sleep_for(d);
}

struct CallPeer {
  std::string broker;
  std::string queue = "q";
  ipcq::Wait wait = ipcq::Wait::sleep();
  ipcq::Duration timeout = std::chrono::seconds(30);
  ipcq::Duration delay{};  // before each answer of a server, before each request of a caller
  std::uint32_t id = 0;
  std::uint64_t count = 0;   // calls
  std::uint64_t window = 1;  // of these under way at once
  std::string onward;        // of a server: the queue to which it passes every request on
  bool in_lines = false;     // requests and answers are short: none needs a slot
  bool by_handler = false;   // the queue's handler answers, which leaves requests as they are
};

// Exit codes as process_peer. A call that its server's death has ended is recorded as `lost`, and made no more.
int run_caller(const CallPeer& peer, const RecordWriter& log);
// Until a byte comes at standard input.
int run_server(const CallPeer& peer, const RecordWriter& log);

}  // namespace ipcq_test
