#include "streams/keyed_payloads.hpp"

#include <string_view>

#include <fmt/format.h>

namespace ipcq::bridge {
namespace {

// At once, since a key may come between two commands. A script copies what it returns, so it is not for all payloads.
constexpr std::string_view kLook =
    "return redis.call('EXISTS', KEYS[1]) == 1 and redis.call('GETRANGE', KEYS[1], 0, ARGV[1])";

// What decides which slot of a cluster a key is in.
std::string_view hash_tag(std::string_view key) {
  const auto open = key.find('{');
  if (open == std::string_view::npos) return key;
  const auto close = key.find('}', open + 1);
  if (close == std::string_view::npos || close == open + 1) return key;
  return key.substr(open + 1, close - open - 1);
}

void end(Task&& task, Ending ending, std::string_view why, std::vector<Outcome>& ended) {
  auto reason = fmt::format("the key '{}', which its field 'payload-key' names, {}", task.payload_key, why);
  ended.push_back({.task = std::move(task), .ending = ending, .reason = std::move(reason)});
}

}  // namespace

void KeyedPayloads::ask(Connection& connection, std::size_t longest) {
  longest_ = longest;
  looks_ = reading_.empty();
  const auto last = std::to_string(longest);  // the first byte is 0: one more than there is room for
  for (const auto& task : reading_) connection.append({"GETRANGE", task.payload_key, "0", last});
  awaited_ = reading_.size();
  if (!looks_) return;
  for (const auto& task : looking_) connection.append({"EVAL", kLook, "1", task.payload_key, last});
  awaited_ = looking_.size();
}

void KeyedPayloads::take(ReplyView reply, std::vector<Task>& tasks, std::vector<Outcome>& ended) {
  Task task = next();
  if (reply.is_error()) return take_error(std::move(task), reply, ended);
  if (reply.is_nil()) return end(std::move(task), Ending::refused, "is not there", ended);
  const auto payload = reply.text();
  if (payload.empty() && !looks_) {
    looking_.push_back(std::move(task));
  } else if (payload.size() > longest_) {
    end(std::move(task), Ending::refused,
        fmt::format("holds more than the {} bytes of a message of the queue", longest_), ended);
  } else {
    task.payload = payload;
    tasks.push_back(std::move(task));
  }
}

void KeyedPayloads::take_error(Task&& task, ReplyView error, std::vector<Outcome>& ended) const {
  const auto code = error.error_code();
  const bool moves = code == "ASK" || code == "TRYAGAIN" ||
                     (code == "MOVED" && hash_tag(task.payload_key) == hash_tag(sources_[task.source].name));
  if (moves) {
    end(std::move(task), Ending::given_back, "is being moved to another node of the cluster", ended);
  } else if (code == "MOVED") {
    end(std::move(task), Ending::refused, "lies on another node of the cluster; give it the hash tag of the stream",
        ended);
  } else {
    const auto ending = code == "CLUSTERDOWN" ? Ending::failed : Ending::refused;
    end(std::move(task), ending, fmt::format("cannot be read: {}", error.text()), ended);
  }
}

void KeyedPayloads::give_back(std::vector<Outcome>& ended) {
  for (auto* tasks : {&reading_, &looking_}) {
    for (auto& task : *tasks) end(std::move(task), Ending::given_back, "was not read: the broker has gone", ended);
    tasks->clear();
  }
}

Task KeyedPayloads::next() {
  auto& from = looks_ ? looking_ : reading_;
  Task task = std::move(from.front());
  from.pop_front();
  --awaited_;
  return task;
}

}  // namespace ipcq::bridge
