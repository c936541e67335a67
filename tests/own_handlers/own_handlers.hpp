// The fixture of the tests of users' own handlers: a broker of the test's own, files of handlers, and what is said.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "device_queues/runners.hpp"
#include "errors.hpp"
#include "eventually.hpp"
#include "ipcq/ipcq.hpp"

namespace ipcq_test {

using namespace ipcq;
using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;

class OwnHandlers : public testing::Test {
 protected:
  OwnHandlers() {
    std::string pattern = (std::filesystem::temp_directory_path() / "own-handlers-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
    ::setenv("XDG_CACHE_HOME", (folder_ + "/cache").c_str(), 1);
  }
  ~OwnHandlers() override {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(path(name)) << text;
    return path(name);
  }
  // A file with a handler whose lanes do `each` to `data[i]`, after `before`.
  std::string handler(const std::string& name, const std::string& each, const std::string& before = "") const {
    return write(name,
                 "#include <ipcq/handler.hpp>\n" + before +
                     "struct Mine {\n"
                     "  IPCQ_HOST_DEVICE static constexpr bool accepts(std::uint64_t length) { return length != 5; }\n"
                     "  template <class Team>\n"
                     "  IPCQ_HOST_DEVICE void operator()(std::byte* data, std::uint64_t length, Team team) const {\n"
                     "    for (std::uint64_t i = team.rank(); i < length; i += team.size()) {\n" +
                     each +
                     "\n    }\n"
                     "  }\n"
                     "};\n"
                     "IPCQ_HANDLER(Mine)\n");
  }
  // A handler of the full form, with `members` and the body `call`.
  std::string full(const std::string& name, const std::string& call, const std::string& members = "",
                   const std::string& parameters = "", const std::string& state = "",
                   const std::string& before = "") const {
    return write(name, "#include <ipcq/handler.hpp>\n" + before + "struct Mine {\n" + members +
                           "\n  template <class Team>\n"
                           "  IPCQ_HOST_DEVICE void operator()(ipcq::HandlerMessage& m, Team team" +
                           state + ") const {\n" + call + "\n  }\n};\nIPCQ_HANDLER(Mine" + parameters + ")\n");
  }
  // Adds one to each byte.
  std::string next_byte(const std::string& name = "next.cu") const {
    return handler(name, "      data[i] = static_cast<std::byte>(static_cast<int>(data[i]) + 1);");
  }

  // The same, and one to the first word of the state, after `first`; with `before` in front of the type.
  std::string counts(const std::string& name, const std::string& first = "", const std::string& before = "") const {
    return full(name,
                first +
                    "\n    if (team.rank() == 0) ++*reinterpret_cast<std::uint64_t*>(state.data);\n"
                    "    for (std::uint64_t i = team.rank(); i < m.length; i += team.size()) "
                    "m.data[i] = static_cast<std::byte>(static_cast<int>(m.data[i]) + 1);",
                "", "", ", ipcq::State state", before);
  }
  // The first word of the queue's state.
  std::uint64_t saved_count(const std::string& queue = "q") {
    broker().save_state(queue, path("saved"));
    std::uint64_t count = ~std::uint64_t{0};
    std::ifstream(path("saved"), std::ios::binary).read(reinterpret_cast<char*>(&count), sizeof count);
    return count;
  }

  Broker& broker() {
    if (!broker_) {
      broker_ = std::make_unique<Broker>(BrokerOptions{.name = name_, .log = [this](LogLevel, std::string_view text) {
                                                         const std::scoped_lock lock(mutex_);
                                                         log_ += std::string(text) + "\n";
                                                       }});
    }
    return *broker_;
  }
  std::string log() {
    const std::scoped_lock lock(mutex_);
    return log_;
  }
  bool comes_to_say(const std::string& text) {
    return eventually([&] { return log().find(text) != std::string::npos; });
  }
  Session& session() {
    if (!session_) session_ = std::make_unique<Session>(connect({.broker = name_}));
    return *session_;
  }
  // Sends it, and takes what the handler has made of it.
  Result<Message> exchange(Producer& p, Consumer& c, const std::string& text) {
    EXPECT_EQ(p.send(text.data(), text.size(), kBound), Status::ok);
    auto m = c.receive(kBound);
    EXPECT_TRUE(m) << to_string(m.status());
    return m;
  }
  static std::vector<pid_t> host_runners() { return runners(getpid(), "ipcq-host-runne"); }
  static std::string text_of(const MessageView& m) {
    return {reinterpret_cast<const char*>(m.bytes().data()), m.bytes().size()};
  }
  QueueStats stats(const std::string& queue = "q") {
    for (const QueueStats& q : broker().stats().queues) {
      if (q.name == queue) return q;
    }
    ADD_FAILURE() << "no queue " << queue;
    return {};
  }

  const std::string name_ = "own-handlers-" + std::to_string(getpid());

 private:
  std::string folder_;
  std::mutex mutex_;
  std::string log_;
  std::unique_ptr<Broker> broker_;
  std::unique_ptr<Session> session_;
};

}  // namespace ipcq_test
