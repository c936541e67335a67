// Reply: what a server has answered, owned. A ReplyView shows a part of one, and is valid as long as that. For one
// thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

struct redisReply;

namespace ipcq::bridge {

// An error without what servers put around those of scripts: it begins with its code.
std::string_view cause_of(std::string_view error) noexcept;

class ReplyView {
 public:
  ReplyView() noexcept = default;
  explicit ReplyView(const redisReply* reply) noexcept : reply_(reply) {}

  bool is_nil() const noexcept;  // also where there is nothing
  bool is_error() const noexcept;
  bool is_array() const noexcept;
  bool is_integer() const noexcept;
  // The text of a string or status, the cause of an error; empty otherwise.
  std::string_view text() const noexcept;
  // The number of an integer, or that a text says; `otherwise` where it is none.
  std::int64_t number(std::int64_t otherwise = 0) const noexcept;
  // Elements of an array; 0 otherwise.
  std::size_t size() const noexcept;
  // Nothing beyond the end.
  ReplyView operator[](std::size_t index) const noexcept;
  // The first word of an error, such as NOGROUP; empty where it is none.
  std::string_view error_code() const noexcept;

 private:
  const redisReply* reply_ = nullptr;
};

class Reply {
 public:
  Reply() noexcept = default;
  explicit Reply(redisReply* reply) noexcept : reply_(reply) {}
  ReplyView view() const noexcept { return ReplyView(reply_.get()); }
  explicit operator bool() const noexcept { return reply_ != nullptr; }

 private:
  struct Free {
    void operator()(redisReply* reply) const noexcept;
  };
  std::unique_ptr<redisReply, Free> reply_;
};

}  // namespace ipcq::bridge
