#include "redis/reply.hpp"

#include <charconv>

#include <hiredis/hiredis.h>

namespace ipcq::bridge {

std::string_view cause_of(std::string_view error) noexcept {
  constexpr std::string_view kScript = "ERR Error running script (call to ", kLine = "@user_script:";
  // Since Redis 7.0: "... script: DIGEST, on @user_script:1."
  if (const auto end = error.rfind(" script: "); end != std::string_view::npos && error.find(kLine, end) < error.size())
    error = error.substr(0, end);
  if (error.starts_with(kScript)) {
    if (const auto end = error.find("): "); end != std::string_view::npos) error.remove_prefix(end + 3);
  }
  while (error.starts_with(kLine)) {
    const auto end = error.find(": ", kLine.size() + 1);  // "@user_script:1: " or "@user_script: 1: "
    if (end == std::string_view::npos) break;
    error.remove_prefix(end + 2);
    if (error.starts_with('-')) error.remove_prefix(1);
  }
  return error;
}

bool ReplyView::is_nil() const noexcept { return reply_ == nullptr || reply_->type == REDIS_REPLY_NIL; }
bool ReplyView::is_error() const noexcept { return reply_ != nullptr && reply_->type == REDIS_REPLY_ERROR; }
bool ReplyView::is_array() const noexcept { return reply_ != nullptr && reply_->type == REDIS_REPLY_ARRAY; }
bool ReplyView::is_integer() const noexcept { return reply_ != nullptr && reply_->type == REDIS_REPLY_INTEGER; }

std::string_view ReplyView::text() const noexcept {
  if (reply_ == nullptr) return {};
  switch (reply_->type) {
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS:
      return {reply_->str, static_cast<std::size_t>(reply_->len)};
    case REDIS_REPLY_ERROR:
      return cause_of({reply_->str, static_cast<std::size_t>(reply_->len)});
    default:
      return {};
  }
}

std::int64_t ReplyView::number(std::int64_t otherwise) const noexcept {
  if (is_integer()) return reply_->integer;
  const auto digits = text();
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return error == std::errc() && end == digits.data() + digits.size() ? value : otherwise;
}

std::size_t ReplyView::size() const noexcept { return is_array() ? reply_->elements : 0; }

ReplyView ReplyView::operator[](std::size_t index) const noexcept {
  return index < size() ? ReplyView(reply_->element[index]) : ReplyView();
}

std::string_view ReplyView::error_code() const noexcept {
  if (!is_error()) return {};
  const auto words = text();
  return words.substr(0, words.find(' '));
}

void Reply::Free::operator()(redisReply* reply) const noexcept { freeReplyObject(reply); }

}  // namespace ipcq::bridge
