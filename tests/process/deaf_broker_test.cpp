// A broker that is there and does not answer: whoever asks it is told within ten seconds, whatever signals come.
#include <pthread.h>
#include <signal.h>
#include <sys/un.h>

#include <atomic>
#include <functional>
#include <thread>

#include "errors.hpp"
#include "process/peers.hpp"
#include "process/raw_client.hpp"

namespace ipcq_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class DeafBroker : public ProcessTest {
 protected:
  DeafBroker() : path_(directory_ + "/socket") {
    struct sigaction action {};  // without SA_RESTART
    action.sa_handler = [](int) {};
    sigaction(SIGUSR1, &action, nullptr);
  }

  Fd listen_at_path(int backlog) const {
    Fd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(fd.get(), backlog), 0);
    return fd;
  }

  // Runs it while signals come all the time.
  static void among_signals(const std::function<void()>& call) {
    std::atomic<bool> over{false};
    std::thread caller([&] {
      call();
      over.store(true);
    });
    while (!over.load()) {
      pthread_kill(caller.native_handle(), SIGUSR1);
      std::this_thread::sleep_for(20ms);
    }
    caller.join();
  }

  const std::string path_;
};

TEST_F(DeafBroker, ThatTakesNoConnectionIsNamedInTime) {
  const Watchdog watchdog(60s, [] { return "connect() has no bound"; });
  const Fd listener = listen_at_path(0);
  std::vector<Fd> waiting;
  while (Fd one = detail::connect_socket(path_)) waiting.push_back(std::move(one));
  ASSERT_EQ(errno, EAGAIN);
  among_signals([&] {
    const auto text = error_of<SystemError>([&] { (void)connect({.broker = path_, .wait_for = 1s}); });
    EXPECT_THAT(text, AllOf(HasSubstr(path_), HasSubstr("took no connection within 10 s"), HasSubstr("SIGSTOP"),
                            Not(HasSubstr("permission"))));
  });
}

TEST_F(DeafBroker, ThatGivesNoAnswerIsNamedInTime) {
  const Watchdog watchdog(60s, [] { return "each signal begins the time anew"; });
  const Fd listener = listen_at_path(8);
  among_signals([&] {
    const auto text = error_of<SystemError>([&] { (void)fetch_stats(path_); });
    EXPECT_THAT(text, AllOf(HasSubstr(path_), HasSubstr("no answer within 10 s"), HasSubstr("SIGSTOP")));
  });
}

TEST_F(DeafBroker, ThatTakesNoRequestIsNamedInTime) {
  const Watchdog watchdog(60s, [] { return "a request is sent for ever"; });
  const Fd listener = listen_at_path(8);
  const detail::Connection to{detail::connect_socket(path_), {}};
  const detail::Request request;
  while (detail::send_message(to.socket.get(), &request, sizeof request)) {
  }
  ASSERT_EQ(errno, EAGAIN);
  among_signals([&] {
    const auto text =
        error_of<SystemError>([&] { detail::send_request(to, path_, request, detail::deadline_after(300ms)); });
    EXPECT_THAT(text, AllOf(HasSubstr(path_), HasSubstr("took no request")));
  });
}

TEST_F(DeafBroker, AStoppedOneAnswersOnceItGoesOn) {
  const Watchdog watchdog(60s, [] { return "the answer of a broker that went on is missed"; });
  Peer& broker = spawn_broker();
  broker.signal(SIGSTOP);
  bounded("the broker to stop", [&] { return broker.is_stopped(); });
  std::thread goes_on([&] {
    std::this_thread::sleep_for(kMoment);
    broker.signal(SIGCONT);
  });
  among_signals([&] { EXPECT_NO_THROW(EXPECT_EQ(fetch_stats(name_).pid, broker.pid())); });
  goes_on.join();
}

}  // namespace
}  // namespace ipcq_test
