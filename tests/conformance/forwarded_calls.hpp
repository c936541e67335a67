// The fixture of the tests of requests that are passed on from queue to queue. On the host alone, where all of them
// are.
#pragma once

#include <string>

#include "conformance/calls.hpp"

namespace ipcq_test {

class ForwardedCalls : public CallsTest {
 protected:
  // "q" is the home, "b" and "c" are further queues; in one pool, or each in its own.
  void create_queues(bool share, QueueOptions home = {}, QueueOptions other = {}) {
    if (share) {
      create_pool("pool", {.slots = 8, .size = 1000});
      home.pool = other.pool = "pool";
    } else {
      home.slots = other.slots = 4;
      home.size = 1000;
      other.size = 1000 + 24;
    }
    home.calls = other.calls = 8;
    create_as_is("q", home);
    create_as_is("b", other);
    create_as_is("c", other);
  }
  Client client_of(const std::string& queue) { return session_.client(queue, {.wait = consumer_wait()}); }
  Server server_of(const std::string& queue) { return session_.server(queue, {.wait = producer_wait()}); }
  std::uint64_t used(const std::string& queue) const { return stats(queue).slots - stats(queue).empty; }
};

}  // namespace ipcq_test
