// The fixture of the tests of calls.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "conformance/backend.hpp"
#include "errors.hpp"

namespace ipcq_test {

class CallsTest : public BackendTest {
 protected:
  void create_calls(QueueOptions options = {}) {
    if (options.calls == 0) options.calls = 8;
    create_as_is("q", options);
  }
  Client client(ClientOptions options = {}) {
    options.wait = consumer_wait();
    return session_.client("q", options);
  }
  Server server() { return session_.server("q", {.wait = producer_wait()}); }

  static std::string text_of(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  static std::string pattern(std::size_t length, unsigned seed) {
    std::string text(length, '\0');
    for (std::size_t i = 0; i < length; ++i) text[i] = static_cast<char>(seed + i * 7);
    return text;
  }
  static Call ask(Client& c, const std::string& what, Timeout deadline = kForever) {
    auto call = c.request(what, deadline);
    EXPECT_EQ(call.status(), Status::ok);
    return std::move(*call);
  }
  static Request next(Server& s) {
    auto r = s.receive(kBound);
    EXPECT_EQ(r.status(), Status::ok);
    return std::move(*r);
  }
  static void expect_reply(Call& call, const std::string& text) {
    auto r = call.receive(kBound);
    ASSERT_EQ(r.status(), Status::ok);
    EXPECT_EQ(text_of(r->bytes()), text);
    EXPECT_FALSE(r->has_more());
    EXPECT_EQ(call.receive(kBound).status(), Status::end);
    EXPECT_FALSE(call);
  }
  std::uint64_t slots_in_use() const { return stats().slots - stats().empty; }
};
}  // namespace ipcq_test
