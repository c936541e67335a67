#include "streams/keyed_payloads.hpp"

#include <string>
#include <utility>

#include <fmt/format.h>

namespace ipcq::bridge {

void KeyedPayloads::ask(Connection& connection, std::size_t longest) {
  longest_ = longest;
  looks_ = reading_.empty();
  const auto last = std::to_string(longest);  // its first byte is 0: one more than there is room for
  for (const auto& task : reading_) connection.append({"GETRANGE", task.payload_key, "0", last});
  awaited_ = reading_.size();
  if (!looks_) return;
  for (const auto& task : looking_) connection.append({"EXISTS", task.payload_key});
  awaited_ = looking_.size();
}

void KeyedPayloads::take(ReplyView reply, std::vector<Task>& tasks, std::vector<Outcome>& refused) {
  Task task = next();
  if (reply.is_error()) return refuse(std::move(task), fmt::format("cannot be read: {}", reply.text()), refused);
  if (looks_) {
    if (reply.number() == 0) return refuse(std::move(task), "is not there", refused);
  } else if (reply.text().empty()) {
    looking_.push_back(std::move(task));
    return;
  } else if (reply.text().size() > longest_) {
    return refuse(std::move(task), fmt::format("holds more than the {} bytes of a message of the queue", longest_),
                  refused);
  } else {
    task.payload = reply.text();
  }
  tasks.push_back(std::move(task));
}

void KeyedPayloads::take_moved(std::vector<Outcome>& refused) {
  refuse(next(), "lies on another node of the cluster; give it the hash tag of the stream", refused);
}

Task KeyedPayloads::next() {
  auto& from = looks_ ? looking_ : reading_;
  Task task = std::move(from.front());
  from.pop_front();
  --awaited_;
  return task;
}

void KeyedPayloads::refuse(Task&& task, std::string_view why, std::vector<Outcome>& refused) {
  auto reason = fmt::format("the key '{}', which its field 'payload-key' names, {}", task.payload_key, why);
  refused.push_back({.task = std::move(task), .ending = Ending::refused, .reason = std::move(reason)});
}

}  // namespace ipcq::bridge
