// KeyedPayloads: tasks whose payloads stand in keys of their own, until these are read. One command for each, and
// another one where a key gives nothing. Of a payload that is too long for a message only so much is read as shows it.
// What one key's node or slot lacks holds no other task up. For one thread.
#pragma once

#include <cstddef>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "redis/connection.hpp"
#include "settings.hpp"
#include "tasks/task.hpp"

namespace ipcq::bridge {

class KeyedPayloads {
 public:
  explicit KeyedPayloads(const std::vector<Source>& sources) : sources_(sources) {}

  void add(Task&& task) { reading_.push_back(std::move(task)); }
  bool empty() const noexcept { return reading_.empty() && looking_.empty(); }

  // Sends commands for all of one kind, behind which replies come: Connection::next_of_key(). `longest`: bytes of a
  // message.
  void ask(Connection& connection, std::size_t longest);
  // Replies that are still to come.
  std::size_t awaited() const noexcept { return awaited_; }
  // No more of them come: the connection is lost.
  void forget_replies() noexcept { awaited_ = 0; }
  // The next reply. Appends the task to one of the two, or keeps it for another command.
  void take(ReplyView reply, std::vector<Task>& tasks, std::vector<Outcome>& ended);
  // All tasks, where no reply is awaited: the queue that they were for is not there.
  void give_back(std::vector<Outcome>& ended);

 private:
  Task next();
  void take_error(Task&& task, ReplyView error, std::vector<Outcome>& ended) const;

  const std::vector<Source>& sources_;
  std::deque<Task> reading_, looking_;  // to be read; read as empty, which may be since the key is not there
  bool looks_ = false;                  // the awaited replies are of looking_
  std::size_t awaited_ = 0;
  std::size_t longest_ = 0;
};

}  // namespace ipcq::bridge
