// A fixture with a Redis server of its own in the test's directory, and a bridge between it and a queue named `work`.
// The server listens on a Unix socket alone, so that tests do not meet. $IPCQ_REDIS_SERVER names another program for
// it: valkey-server.
#pragma once

#include <atomic>
#include <functional>
#include <ipcq/calls.hpp>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "programs/commands.hpp"
#include "redis/connection.hpp"

namespace ipcq_test {

using Fields = std::vector<std::pair<std::string, std::string>>;

struct Entry {
  std::string id;
  std::map<std::string, std::string> fields;
};

// Requests that a Servers' answer keeps: capture it by value, so that they end before their server does.
class Kept {
 public:
  std::vector<ipcq::Request>* operator->() const { return requests_.get(); }
  std::vector<ipcq::Request>& operator*() const { return *requests_; }

 private:
  std::shared_ptr<std::vector<ipcq::Request>> requests_ = std::make_shared<std::vector<ipcq::Request>>();
};

// Answers the calls of the queue `work` in a thread, until destroyed.
class Servers {
 public:
  using Answer = std::function<void(ipcq::Request&)>;
  Servers(const std::string& broker, const Answer& answer);
  ~Servers();

 private:
  struct State;
  std::unique_ptr<State> state_;
  std::thread thread_;
};

// Holds servers back until it is open.
struct Gate {
  std::atomic<bool> is_open{false};
  std::atomic<int> calls{0};  // that have come to it
};

class RedisTest : public ProgramTest {
 protected:
  // Starts the server and waits until it answers. `more`: options of redis-server.
  Command& redis(const std::string& more = "--save ''");
  std::string url() const { return "unix://" + path("redis.sock"); }

  // A command's answer; a failure of the test where the server does not give one.
  ipcq::bridge::Reply ask(const std::vector<std::string>& words);
  std::string text(const std::vector<std::string>& words) { return std::string(ask(words).view().text()); }
  long number(const std::vector<std::string>& words) { return ask(words).view().number(-1); }
  std::vector<std::string> texts(const std::vector<std::string>& words);
  // It does not know how many entries of a stream no one has read.
  bool is_before_redis_7() { return text({"INFO", "server"}).find("redis_version:6.") != std::string::npos; }
  // Forgets the connection: the server is another one.
  void reconnect() { connection_.reset(); }

  // Returns the entry's id.
  std::string add(const std::string& stream, const std::string& payload, const Fields& more = {});
  std::vector<Entry> entries(const std::string& stream);
  // Results by the ids of their tasks; a failure where one task has several.
  std::map<std::string, std::string> results(const std::string& stream = "tasks:results");
  bool has_results(std::size_t count, const std::string& stream = "tasks:results") {
    return eventually([&] { return number({"XLEN", stream}) >= static_cast<long>(count); });
  }
  // Entries of the group ipcq that are not acknowledged.
  long pending(const std::string& stream = "tasks");

  // A broker with the queue `work`, answered by the handler `upper`, or by servers.
  Command& handler_broker(const std::string& more = "") {
    return broker("--queue work=4KiB,slots=64,calls=64,handler=upper,backend=host" + more);
  }
  Command& server_broker(const std::string& more = "") { return broker("--queue work=4KiB,slots=64,calls=64" + more); }
  Servers serve(const Servers::Answer& answer) const { return {path("ipcq/" + broker_name() + ".sock"), answer}; }

  // Which answers "done" when the gate is open.
  Servers serve_behind(Gate& gate) const {
    return serve([&gate](ipcq::Request& request) {
      ++gate.calls;
      static_cast<void>(eventually([&] { return gate.is_open.load(); }));
      static_cast<void>(request.reply("done"));
    });
  }

  // Starts ipcq-redis on the stream `tasks`.
  Command& bridge(const std::string& more = "");
  // What it says once it works.
  static bool is_working(const Command& bridge) { return bridge.err().find("working on") != std::string::npos; }

 private:
  std::unique_ptr<ipcq::bridge::Connection> connection_;
};

}  // namespace ipcq_test
