// The fixture of the tests of requests that are passed on from queue to queue. On the host alone, where all of them
// are.
#pragma once

#include <string>

#include "conformance/calls.hpp"

namespace ipcq_test {

class ForwardedCalls : public CallsTest {
 protected:
  // A caller of "q", the server there, and the client by which that passes requests on to "b".
  struct Ends {
    Client caller;
    Server first;
    Client onward;
  };
  // The same of values, and the server of "b".
  template <typename Q, typename A>
  struct TypedEnds {
    TypedClient<Q, A> caller;
    TypedServer<Q, A> first;
    TypedClient<Q, A> onward;
    TypedServer<Q, A> second;
  };

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
  Ends ends() { return {client(), server(), client_of("b")}; }
  template <typename Q, typename A>
  TypedEnds<Q, A> typed_ends() {
    return {session_.client<Q, A>("q", {.wait = consumer_wait()}),
            session_.server<Q, A>("q", {.wait = producer_wait()}), session_.client<Q, A>("b"),
            session_.server<Q, A>("b", {.wait = producer_wait()})};
  }
  std::uint64_t used(const std::string& queue) const { return stats(queue).slots - stats(queue).empty; }
};

// What each suite of theirs is instantiated with: how callers and servers wait.
inline auto on_the_host() {
  return testing::Combine(testing::Values(backends()[0]), testing::Values(Wait::Kind::hybrid, Wait::Kind::sleep),
                          testing::Values(Wait::Kind::hybrid));
}

}  // namespace ipcq_test
