// Requests that a client gives up, or does not live to see answered: nothing that the broker does for them later is
// seen by others. And what a session closes under a broker that does not answer.
#include <sys/wait.h>

#include <chrono>
#include <functional>
#include <thread>

#include "errors.hpp"
#include "process/peers.hpp"
#include "process/raw_client.hpp"

namespace ipcq_test {
namespace {

class LateAnswer : public ProcessTest {
 protected:
  LateAnswer() : broker_(spawn_broker({"lines=16"})) {}
  Session session() { return connect({.broker = name_, .wait_for = kPeerBound}); }
  void stop_broker() {
    broker_.signal(SIGSTOP);
    bounded("the broker to stop", [&] { return broker_.is_stopped(); });
  }
  static detail::Request open_producer() {
    detail::Request open;
    open.op = detail::Op::open_producer;
    detail::set_text(open.name, sizeof open.name, "q");
    return open;
  }
  // A process that does `before`, and `last` while the broker is stopped, and ends without an answer to that.
  void ask_and_end(const std::function<std::uint32_t(RawClient&)>& before,
                   const std::function<bool(RawClient&, std::uint32_t)>& last) {
    int ready[2];
    int go[2];
    ASSERT_EQ(::pipe(ready), 0);
    ASSERT_EQ(::pipe(go), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      char byte = 0;
      RawClient client(detail::socket_path_of(name_));
      (void)client.hello();
      const std::uint32_t made = before(client);
      const bool told = ::write(ready[1], &byte, 1) == 1 && ::read(go[0], &byte, 1) == 1;
      ::_exit(told && last(client, made) ? 0 : 1);
    }
    char byte = 0;
    ASSERT_EQ(::read(ready[0], &byte, 1), 1);
    stop_broker();
    ASSERT_EQ(::write(go[1], &byte, 1), 1);
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_EQ(status, 0);
    broker_.signal(SIGCONT);
    for (const int fd : {ready[0], ready[1], go[0], go[1]}) ::close(fd);
  }

  Peer& broker_;
};

TEST_F(LateAnswer, OpensNothing) {
  const Watchdog watchdog(60s, [] { return "a request has no bound"; });
  Session other = session();
  Consumer reader = other.consumer("q");
  Session producing = session();
  Session consuming = session();
  stop_broker();
  std::thread both([&] { error_of<SystemError>([&] { (void)producing.producer("q"); }); });
  error_of<SystemError>([&] { (void)consuming.consumer("q", {.group = "founded"}); });
  both.join();
  broker_.signal(SIGCONT);
  // Neither session asks again.
  bounded("both endpoints to be closed", [&] {
    const QueueStats q = stats("q");
    return q.endpoints.size() == 1 && q.groups.size() == 1;
  });
  EXPECT_EQ(reader.receive(0s).status(), Status::empty) << "a stream that never began has ended";
  EXPECT_EQ(stats("q").producers_lost, 0u);
  {
    Producer writer = other.producer("q");
    for (int i = 0; i < 64; ++i) {  // more than the queue has lines
      ASSERT_EQ(writer.send("x", kPeerBound), Status::ok) << "held up by a group that nobody is in";
      ASSERT_EQ(reader.receive(kPeerBound).status(), Status::ok);
    }
  }
  EXPECT_EQ(reader.receive(kPeerBound).status(), Status::end);
  EXPECT_NO_THROW((void)producing.producer("q"));  // and the sessions go on
  EXPECT_NO_THROW((void)consuming.consumer("q"));
}

TEST_F(LateAnswer, ToAProcessThatHasEndedOpensNothing) {
  const Watchdog watchdog(60s, [] { return "waits for a process that has ended"; });
  Session other = session();
  Consumer reader = other.consumer("q");
  Producer writer = other.producer("q");
  ask_and_end([](RawClient&) { return 0u; }, [](RawClient& c, std::uint32_t) { return c.send(open_producer()); });
  writer.close();  // the broker finds that request before it finds this
  EXPECT_EQ(reader.receive(kPeerBound).status(), Status::end) << "waits for a producer that never was";
  EXPECT_EQ(stats("q").producers_lost, 0u);
}

TEST_F(LateAnswer, IsNotNeededToHaveClosed) {
  const Watchdog watchdog(60s, [] { return "waits for a process that has ended"; });
  Session other = session();
  Consumer reader = other.consumer("q");
  ask_and_end([](RawClient& c) { return c.ask(open_producer()).client; },
              [](RawClient& c, std::uint32_t producer) {
                detail::Request close;
                close.op = detail::Op::close_endpoint;
                close.client = producer;
                return c.send(close);
              });
  EXPECT_EQ(reader.receive(kPeerBound).status(), Status::end) << "the stream counts as broken";
  EXPECT_EQ(stats("q").producers_lost, 0u);
}

TEST_F(LateAnswer, IsWaitedForOnceWhenASessionCloses) {
  const Watchdog watchdog(120s, [] { return "each endpoint waits anew"; });
  Session other = session();
  Consumer reader = other.consumer("out");
  Duration taken{};
  {
    Session closing = session();
    std::vector<Producer> producers;
    for (int i = 0; i < 4; ++i) producers.push_back(closing.producer("out"));
    Consumer consumer = closing.consumer("q");
    stop_broker();
    const auto begun = std::chrono::steady_clock::now();
    consumer.close();
    producers.clear();
    closing = Session();
    taken = std::chrono::steady_clock::now() - begun;
  }
  EXPECT_LT(taken, 19s);  // twice would be 20
  broker_.signal(SIGCONT);
  EXPECT_EQ(reader.receive(kPeerBound).status(), Status::end) << "the producers did not close cleanly";
  EXPECT_TRUE(stats("q").endpoints.empty());
}

}  // namespace
}  // namespace ipcq_test
