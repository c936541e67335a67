#include "bridge/redis_test.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <exception>
#include <ipcq/error.hpp>
#include <ipcq/session.hpp>

namespace ipcq_test {

using ipcq::bridge::Connection;
using ipcq::bridge::Reply;
using ipcq::bridge::ReplyView;

struct Servers::State {
  ipcq::Session session;
  ipcq::Server server;
  std::atomic<bool> over{false};
};

Servers::Servers(const std::string& broker, const Answer& answer) : state_(std::make_unique<State>()) {
  state_->session = ipcq::connect({.broker = broker, .wait_for = kBound});
  state_->server = state_->session.server("work", {.wait = ipcq::Wait::sleep(), .wait_for = kBound});
  thread_ = std::thread([state = state_.get(), answer] {
    while (!state->over) {
      auto request = state->server.receive(50ms);
      if (request) answer(*request);
    }
  });
}

Servers::~Servers() {
  state_->over = true;
  thread_.join();  // which ends what the answer has kept
}

Command& RedisTest::redis(const std::string& more) {
  Command& server = start("exec ${IPCQ_REDIS_SERVER:-redis-server} --port 0 --unixsocket redis.sock --dir . " + more);
  reconnect();
  const bool up = eventually([&] {
    try {
      return server.ended() || text({"PING"}) == "PONG";
    } catch (const ipcq::PermissionError&) {
      return true;  // it wants a password
    } catch (const std::exception&) {
      return false;  // it does not listen, or loads
    }
  });
  EXPECT_TRUE(up && !server.ended()) << server.out() << server.err();
  return server;
}

Reply RedisTest::ask(const std::vector<std::string>& words) {
  if (connection_ == nullptr) {
    connection_ = std::make_unique<Connection>(ipcq::bridge::parse_address(url(), "test"), "test", 5s);
  }
  try {
    return connection_->call(ipcq::bridge::Command(words.begin(), words.end()));
  } catch (const std::exception&) {
    connection_.reset();
    throw;
  }
}

std::vector<std::string> RedisTest::texts(const std::vector<std::string>& words) {
  std::vector<std::string> out;
  const Reply reply = ask(words);
  for (std::size_t i = 0; i < reply.view().size(); ++i) out.emplace_back(reply.view()[i].text());
  return out;
}

std::string RedisTest::add(const std::string& stream, const std::string& payload, const Fields& more) {
  std::vector<std::string> words{"XADD", stream, "*", "payload", payload};
  for (const auto& [name, value] : more) words.insert(words.end(), {name, value});
  return text(words);
}

std::vector<Entry> RedisTest::entries(const std::string& stream) {
  std::vector<Entry> all;
  const Reply reply = ask({"XRANGE", stream, "-", "+"});
  for (std::size_t i = 0; i < reply.view().size(); ++i) {
    Entry entry{.id = std::string(reply.view()[i][0].text()), .fields = {}};
    const ReplyView fields = reply.view()[i][1];
    for (std::size_t k = 0; k + 1 < fields.size(); k += 2) {
      entry.fields[std::string(fields[k].text())] = fields[k + 1].text();
    }
    all.push_back(std::move(entry));
  }
  return all;
}

std::map<std::string, std::string> RedisTest::results(const std::string& stream) {
  std::map<std::string, std::string> found;
  for (auto& entry : entries(stream)) {
    EXPECT_TRUE(found.emplace(entry.fields["id"], entry.fields["result"]).second)
        << entry.fields["id"] << " came twice";
  }
  return found;
}

long RedisTest::pending(const std::string& stream) { return ask({"XPENDING", stream, "ipcq"}).view()[0].number(-1); }

Command& RedisTest::bridge(const std::string& more) {
  Command& started = start("exec ipcq-redis --redis " + url() + " --queue work --stream tasks " +
                           (more.find("--poll") == std::string::npos ? "--poll 0.05 " : "") + more);
  EXPECT_TRUE(eventually([&] { return is_working(started) || started.ended(); })) << started.err();
  return started;
}

}  // namespace ipcq_test
