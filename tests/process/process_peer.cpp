// A client or broker in a process of its own, for the process tests: process_peer ROLE [key=value ...]
// Built with the named protocol steps, so that IPCQ_CRASH_POINT can stop or kill it at one.
//
// Exit codes: 0 done; 2 usage; 90 a payload was damaged; 100 + status when a call ended otherwise; 50 to 56 by
// exception.
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <map>
#include <optional>
#include <string>
#include <thread>

#include "ipcq/ipcq.hpp"
#include "process/call_peers.hpp"
#include "process/records.hpp"
#include "process/scribbler.hpp"
#include "process/without.hpp"
#include "stamped.hpp"

namespace {

using namespace ipcq;
using namespace ipcq_test;
using namespace std::chrono_literals;

char** arguments = nullptr;

class Options {
 public:
  explicit Options(char** argv) {
    for (; *argv != nullptr; ++argv) {
      const std::string text = *argv;
      const auto at = text.find('=');
      values_[text.substr(0, at)] = at == std::string::npos ? "1" : text.substr(at + 1);
    }
  }
  std::string text(const std::string& key, const std::string& otherwise = {}) const {
    const auto it = values_.find(key);
    return it == values_.end() ? otherwise : it->second;
  }
  std::uint64_t number(const std::string& key, std::uint64_t otherwise = 0) const {
    const auto it = values_.find(key);
    return it == values_.end() ? otherwise : std::strtoull(it->second.c_str(), nullptr, 10);
  }
  Wait wait() const { return parse_wait(text("wait", "sleep")); }
  Duration timeout() const { return std::chrono::milliseconds(number("timeout_ms", 30'000)); }
  Duration delay() const { return std::chrono::microseconds(number("delay_us")); }

 private:
  std::map<std::string, std::string> values_;
};

void wait_for_go() {
  char byte = 0;
  [[maybe_unused]] const auto n = read(STDIN_FILENO, &byte, 1);
}

// What the process does when its work is done, instead of closing.
void end_as_told(const Options& o) {
  const std::string how = o.text("at_end");
  if (how == "exit") _exit(0);
  if (how == "pause") {
    for (;;) pause();
  }
  if (how == "exec") {
    char role[] = "sleeper";
    char* argv[] = {arguments[0], role, nullptr};
    execv("/proc/self/exe", argv);
    _exit(2);
  }
}

int run_producer(const Options& o) {
  const RecordWriter log(o.text("log"));
  auto session = connect({.broker = o.text("broker"), .wait_for = 10s});
  auto p = session.producer(o.text("queue", "q"), {.wait = o.wait(), .wait_for = 10s});
  const auto id = static_cast<std::uint32_t>(o.number("id"));
  const std::uint64_t count = o.number("count"), batch = o.number("batch", 1), bytes = o.number("bytes");
  const bool tolerant = o.number("for_ms") != 0;
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(o.number("for_ms"));
  log.add(Event::ready);
  if (o.number("go") != 0) wait_for_go();
  for (std::uint64_t i = 0; tolerant ? std::chrono::steady_clock::now() < until : i < count;) {
    if (o.number("drop_loans") != 0) {
      if (const auto dropped = p.loan(o.timeout()); !dropped) return 100 + static_cast<int>(dropped.status());
    }
    std::vector<std::vector<std::byte>> messages;
    while (messages.size() < batch && (tolerant || i + messages.size() < count)) {
      const std::uint64_t sequence = i + messages.size();
      const std::size_t n = bytes != 0 ? bytes : sequence % 2 == 0 ? 40 : 100 + sequence % 100;
      messages.push_back(stamped(id, sequence, n));
      log.add(Event::sending, sequence, id);
    }
    const std::vector<std::span<const std::byte>> spans(messages.begin(), messages.end());
    const BatchResult r = batch > 1 ? p.send_many(spans, o.timeout()) : BatchResult{p.send(spans[0], o.timeout()), 1};
    if (!tolerant && r.status != Status::ok) {
      log.add(Event::stopped, static_cast<std::uint64_t>(r.status));
      return 100 + static_cast<int>(r.status);
    }
    for (std::size_t k = 0; k < messages.size(); ++k) log.add(Event::sent, i + k, id);
    i += messages.size();
    pause_if(o.delay());
  }
  std::optional<Loan> held;
  if (o.number("hold") != 0) {
    auto loan = p.loan(o.timeout());
    if (!loan) return 100 + static_cast<int>(loan.status());
    held = std::move(*loan);
    log.add(Event::stopped);
  }
  end_as_told(o);
  return 0;
}

// By receive_into() a buffer of so many bytes (into=), or by consume() of so many messages (consume=).
int run_in_place_consumer(const Options& o, Consumer& c, const RecordWriter& log) {
  std::vector<std::byte> buffer(o.number("into"));
  const bool tolerant = o.number("for_ms") != 0;
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(o.number("for_ms"));
  bool intact = true;
  const auto see = [&](const MessageView& m) {
    const auto s = read_stamp(m.bytes());  // reads every byte
    intact = intact && s.has_value();
    if (s && !tolerant) log.add(Event::received, s->sequence, s->producer, m.redeliveries());
    pause_if(o.delay());
  };
  Status status = Status::ok;
  while (tolerant ? std::chrono::steady_clock::now() < until : status == Status::ok && intact) {
    if (buffer.empty()) {
      status = c.consume(see, o.timeout(), o.number("consume")).status;
    } else {
      const auto view = c.receive_into(buffer, o.timeout());
      status = view.status();
      if (view) see(*view);
    }
  }
  if (tolerant) return 0;
  if (!intact) return 90;
  log.add(Event::stopped, static_cast<std::uint64_t>(status));
  return status == Status::end ? 0 : 100 + static_cast<int>(status);
}

int run_consumer(const Options& o) {
  const RecordWriter log(o.text("log"));
  auto session = connect({.broker = o.text("broker"), .wait_for = 10s});
  auto c = session.consumer(o.text("queue", "q"), {.group = o.text("group", "default"),
                                                   .wait = o.wait(),
                                                   .until = o.number("forever") != 0 ? Until::forever : Until::end,
                                                   .wait_for = 10s});
  const std::uint64_t count = o.number("count", ~std::uint64_t{0}), nack_every = o.number("nack_every");
  const bool tolerant = o.number("for_ms") != 0;
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(o.number("for_ms"));
  std::vector<Message> batch(o.number("batch", 1));
  std::uint64_t n = 0;
  log.add(Event::ready);
  if (o.number("into") + o.number("consume") != 0) return run_in_place_consumer(o, c, log);
  while (n < count && (!tolerant || std::chrono::steady_clock::now() < until)) {
    const BatchResult r = c.receive_many(batch, o.timeout());
    if (tolerant) {
      for (std::size_t i = 0; i < r.count; ++i) (void)fnv1a(batch[i].bytes());  // every byte must be readable
      for (std::size_t i = 0; i < r.count; ++i) (void)batch[i].release();
      continue;
    }
    if (r.status != Status::ok) {
      log.add(Event::stopped, static_cast<std::uint64_t>(r.status));
      return r.status == Status::end ? 0 : 100 + static_cast<int>(r.status);
    }
    for (std::size_t i = 0; i < r.count; ++i) {
      const auto s = read_stamp(batch[i].bytes());
      if (!s) return 90;
      log.add(Event::received, s->sequence, s->producer, batch[i].redeliveries());
    }
    n += r.count;
    if (n >= count && o.number("hold") != 0) {
      end_as_told(o);
      return 0;
    }
    pause_if(o.delay());
    for (std::size_t i = 0; i < r.count; ++i) {
      const bool give_back =
          nack_every != 0 && batch[i].redeliveries() == 0 && batch[i].sequence() % nack_every == nack_every - 1;
      (void)(give_back ? batch[i].nack() : batch[i].release());
    }
  }
  end_as_told(o);
  return 0;
}

int run_forwarder(const Options& o) {
  const RecordWriter log(o.text("log"));
  auto session = connect({.broker = o.text("broker"), .wait_for = 10s});
  auto p = session.producer(o.text("to"), {.wait = o.wait()});
  auto c = session.consumer(o.text("from"), {.wait = o.wait()});
  const bool tolerant = o.number("for_ms") != 0;
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(o.number("for_ms"));
  log.add(Event::ready);
  while (!tolerant || std::chrono::steady_clock::now() < until) {
    auto m = c.receive(o.timeout());
    if (!m) {
      if (tolerant) continue;
      return m.status() == Status::end ? 0 : 100 + static_cast<int>(m.status());
    }
    const auto s = read_stamp(m->bytes());
    if (!s && !tolerant) return 90;
    if (s) log.add(Event::received, s->sequence, s->producer, m->redeliveries());
    Status forwarded = p.forward(*m, o.timeout());
    while (forwarded == Status::full && !tolerant) {  // every alias is in use at the moment
      std::this_thread::sleep_for(1ms);
      forwarded = p.forward(*m, o.timeout());
    }
    if (forwarded != Status::ok && !tolerant) return 100 + static_cast<int>(forwarded);
  }
  return 0;
}

CallPeer call_peer(const Options& o) {
  return {.broker = o.text("broker"),
          .queue = o.text("queue", "q"),
          .wait = o.wait(),
          .timeout = o.timeout(),
          .delay = o.delay(),
          .id = static_cast<std::uint32_t>(o.number("id")),
          .count = o.number("count"),
          .window = o.number("window", 1),
          .onward = o.text("onward"),
          .in_lines = o.number("in_lines") != 0,
          .by_handler = o.number("by_handler") != 0};
}

// Serves until SIGTERM.
int run_broker(const Options& o) {
  sigset_t term;
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  sigprocmask(SIG_BLOCK, &term, nullptr);
  const RecordWriter log(o.text("log"));
  Broker b(BrokerOptions{.name = o.text("broker"),
                         .log = [](LogLevel, std::string_view text) { std::cerr << text << std::endl; }});
  b.create_pool("pool", {.slots = static_cast<std::uint32_t>(o.number("slots", 8)), .size = o.number("size", 256)});
  const std::string handler = o.text("handler");
  for (const char* name : {"q", "out"}) {
    b.create(name, {.pool = "pool",
                    .lines = static_cast<std::uint32_t>(o.number("lines", 8)),
                    .line = static_cast<std::uint32_t>(o.number("line", 128)),
                    .handler = handler,
                    .wait = handler.empty() ? Wait::hybrid() : Wait::sleep()});
  }
  if (const auto calls = static_cast<std::uint32_t>(o.number("calls")); calls != 0) b.create("calls", {.calls = calls});
  log.add(Event::ready);
  int signal = 0;
  sigwait(&term, &signal);
  b.stop();
  return 0;
}

// Connects as another user.
int run_stranger(const Options& o) {
  if (setgid(65534) != 0 || setuid(65534) != 0) return 2;
  auto session = connect({.broker = o.text("broker")});
  return 0;
}

// A broker with more slots than a /dev/shm of 1 MiB holds, in a mount namespace of its own. What create() says goes to
// standard error, the names left behind in /dev/shm to standard output.
int run_small_shm(const Options& o) {
  if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=1m") != 0) {
    return 77;  // the caller skips
  }
  Broker b(BrokerOptions{.name = o.text("broker")});
  int rc = 0;
  try {
    b.create("big", {.slots = 1024, .size = 4096});
  } catch (const SystemError& e) {
    std::cerr << e.what() << "\n";
    rc = e.code() == ENOSPC ? 56 : 55;
  }
  if (std::system("ls -A /dev/shm | grep -v '+broker+' || true") != 0) return 2;  // the broker's record stays
  b.create("small", {.slots = 2, .size = 256, .lines = 16, .endpoints = 4, .held = 4});
  return rc;
}

int run(const std::string& role, const Options& o) {
  if (!do_without(o.text("without"))) return 77;  // the caller skips
  if (const std::uint64_t n = o.number("nofile"); n != 0) {
    const rlimit limit{n, n};
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) return 2;
  }
  if (role == "producer") return run_producer(o);
  if (role == "consumer") return run_consumer(o);
  if (role == "forwarder") return run_forwarder(o);
  if (role == "caller") return run_caller(call_peer(o), RecordWriter(o.text("log")));
  if (role == "server") return run_server(call_peer(o), RecordWriter(o.text("log")));
  if (role == "broker") return run_broker(o);
  if (role == "scribbler") {
    return scribble(o.text("segments"), {.seed = o.number("seed", 1),
                                         .time = std::chrono::milliseconds(o.number("for_ms", 500)),
                                         .pause = std::chrono::microseconds(o.number("every_us", 200))});
  }
  if (role == "stranger") return run_stranger(o);
  if (role == "small_shm") return run_small_shm(o);
  if (role == "sleeper") {
    for (;;) pause();
  }
  std::cerr << "process_peer: unknown role " << role << "\n";
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  arguments = argv;
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // no peer outlives its test
  if (std::string(argv[1]) == "small_shm" && unshare(CLONE_NEWNS) != 0) return 77;
  try {
    return run(argv[1], Options(argv + 2));
  } catch (const UsageError& e) {
    std::cerr << e.what() << "\n";
    return 50;
  } catch (const NotFoundError& e) {
    std::cerr << e.what() << "\n";
    return 53;
  } catch (const PermissionError& e) {
    std::cerr << e.what() << "\n";
    return 54;
  } catch (const std::exception& e) {
    std::cerr << e.what() << "\n";
    return 55;
  }
}
