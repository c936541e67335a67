// The peer of bench/redis/throughput.py: fills a stream or list, and works on it as ipcq-redis does, with the same
// commands at the same depth and without a queue: the result is a copy of the task.
//
//   redis_client --url URL --kind stream|list --count N --bytes B --batch N fill|work|check
//
// `work` prints tasks a second, from the first command that reads to the last confirmation. `check` prints how many
// results there are and exits with 1 unless each of N is there once.
#include <poll.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <map>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "program/size_text.hpp"
#include "redis/connection.hpp"
#include "redis/scripts.hpp"

namespace {

using namespace ipcq::bridge;
using Clock = std::chrono::steady_clock;

struct Options {
  std::string url, kind = "stream", action;
  std::uint64_t count = 100'000, bytes = 256, batch = 128;
};

Options parse(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    const auto value = [&] { return std::string(i + 1 < argc ? argv[++i] : ""); };
    if (name == "--url") {
      o.url = value();
    } else if (name == "--kind") {
      o.kind = value();
    } else if (name == "--count") {
      o.count = ipcq::program::parse_number(value(), name, 1, UINT32_MAX);
    } else if (name == "--bytes") {
      o.bytes = ipcq::program::parse_number(value(), name, 8, 1 << 20);
    } else if (name == "--batch") {
      o.batch = ipcq::program::parse_number(value(), name, 1, 1024);
    } else {
      o.action = name;
    }
  }
  return o;
}

// The task's number, and letters.
std::string payload_of(std::uint64_t number, std::uint64_t bytes) {
  std::string text = fmt::format("{:08}", number);
  text.resize(bytes, 'x');
  return text;
}

void wait(const std::vector<Connection*>& connections) {
  std::vector<pollfd> entries;
  for (const auto* each : connections) {
    const short events = each->has_to_send() ? POLLIN | POLLOUT : POLLIN;
    if (each->awaited() > 0) entries.push_back({.fd = each->fd(), .events = events, .revents = 0});
  }
  poll(entries.data(), entries.size(), 1000);
}

void fill(const Options& o) {
  Connection connection(parse_address(o.url, "--url"), "fill", std::chrono::seconds(10));
  static_cast<void>(connection.call({"FLUSHALL"}));
  for (std::uint64_t i = 0; i < o.count;) {
    for (; i < o.count && connection.awaited() < 512; ++i) {
      const auto payload = payload_of(i, o.bytes);
      o.kind == "stream" ? connection.append({"XADD", "tasks", "*", "payload", payload})
                         : connection.append({"RPUSH", "tasks", payload});
    }
    connection.exchange();
    while (connection.next()) {
    }
    wait({&connection});
  }
  while (connection.awaited() > 0) {
    connection.exchange();
    if (!connection.next()) wait({&connection});
  }
}

// Reads on one connection and ends on another, two batches under way, as bridge/tasks/finisher.hpp does.
class Bare {
 public:
  explicit Bare(const Options& o)
      : o_(o),
        reading_(parse_address(o.url, "--url"), "read", std::chrono::seconds(10)),
        finishing_(parse_address(o.url, "--url"), "finish", std::chrono::seconds(10)),
        take_("take"),
        finish_(o.kind == "stream" ? "finish_entries" : "finish_taken"),
        batch_(std::to_string(o.batch)) {
    take_.load(reading_);
    finish_.load(finishing_);
    if (is_stream()) static_cast<void>(reading_.call({"XGROUP", "CREATE", "tasks", "bare", "0", "MKSTREAM"}));
  }

  double run() {
    const auto begin = Clock::now();
    read();
    while (done_ < o_.count) {
      reading_.exchange();
      if (const Reply reply = reading_.next()) {
        take(reply.view());
        if (taken_ < o_.count) read();
      }
      finishing_.exchange();
      while (const Reply reply = finishing_.next()) {
        for (std::size_t i = 0; i < reply.view().size(); ++i) done_ += reply.view()[i].number() == 1 ? 1 : 0;
      }
      if (finishing_.awaited() < 2 && !waiting_.empty()) {
        finish();
      } else if (done_ < o_.count) {
        wait({&reading_, &finishing_});
      }
    }
    return static_cast<double>(o_.count) / std::chrono::duration<double>(Clock::now() - begin).count();
  }

 private:
  struct Task {
    std::string id, payload;
  };
  bool is_stream() const { return o_.kind == "stream"; }
  void read() {
    if (is_stream()) {
      reading_.append({"XREADGROUP", "GROUP", "bare", "me", "COUNT", batch_, "STREAMS", "tasks", ">"});
    } else {
      reading_.append({"EVALSHA", take_.digest(), "1", "tasks", "list", "me", batch_, "left"});
    }
    reading_.send();
  }
  void take(ReplyView reply) {
    const ReplyView tasks = is_stream() ? reply[0][1] : reply;
    for (std::size_t i = 0; i < tasks.size(); ++i) {
      const auto payload = is_stream() ? tasks[i][1][1].text() : tasks[i][0].text();
      waiting_.push_back({is_stream() ? std::string(tasks[i][0].text()) : std::string(payload), std::string(payload)});
    }
    taken_ += tasks.size();
  }
  void finish() {
    Command command{"EVALSHA", finish_.digest(), "4",     "tasks",
                    "results", "later",          "dead",  is_stream() ? "bare" : "list",
                    "me",      o_.kind,          "60000", "65536"};
    std::vector<Task> batch;
    while (!waiting_.empty() && batch.size() < o_.batch) {
      batch.push_back(std::move(waiting_.front()));
      waiting_.pop_front();
    }
    for (const auto& task : batch) {
      command.insert(command.end(), {"result", task.id, task.id, "", "0", "1", task.payload});
    }
    finishing_.append(command);
    finishing_.send();
  }

  const Options& o_;
  Connection reading_, finishing_;
  Script take_, finish_;
  std::string batch_;
  std::deque<Task> waiting_;
  std::uint64_t taken_ = 0, done_ = 0;
};

// Each number of a task once among the results, whatever was done to the letters behind it.
int check(const Options& o) {
  Connection connection(parse_address(o.url, "--url"), "check", std::chrono::seconds(60));
  std::map<std::string, int> seen;
  const Reply reply = o.kind == "stream" ? connection.call({"XRANGE", "results", "-", "+"})
                                         : connection.call({"LRANGE", "results", "0", "-1"});
  for (std::size_t i = 0; i < reply.view().size(); ++i) {
    const auto result = o.kind == "stream" ? reply.view()[i][1][3].text() : reply.view()[i].text();
    ++seen[std::string(result.substr(0, 8))];
  }
  std::uint64_t once = 0;
  for (std::uint64_t i = 0; i < o.count; ++i) once += seen[payload_of(i, 9).substr(0, 8)] == 1 ? 1 : 0;
  std::printf("%zu\n", reply.view().size());
  return once == o.count && reply.view().size() == o.count ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) try {
  const Options o = parse(argc, argv);
  if (o.action == "fill") {
    fill(o);
  } else if (o.action == "work") {
    std::printf("%.0f\n", Bare(o).run());
  } else if (o.action == "check") {
    return check(o);
  } else {
    std::fprintf(stderr, "redis_client: say fill, work or check\n");
    return 2;
  }
} catch (const std::exception& error) {
  std::fprintf(stderr, "redis_client: %s\n", error.what());
  return 1;
}
