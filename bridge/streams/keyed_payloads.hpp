// KeyedPayloads: tasks whose payloads stand in keys of their own, until these are read. One command for each, and
// another one where a key gives nothing. Of a payload that is too long for a message only so much is read as shows it.
// For one thread.
#pragma once

#include <cstddef>
#include <deque>
#include <string_view>
#include <vector>

#include "redis/connection.hpp"
#include "tasks/task.hpp"

namespace ipcq::bridge {

class KeyedPayloads {
 public:
  void add(Task&& task) { reading_.push_back(std::move(task)); }
  bool empty() const noexcept { return reading_.empty() && looking_.empty(); }

  // Sends commands for all of one kind, behind which replies come. `longest`: bytes of a message.
  void ask(Connection& connection, std::size_t longest);
  // Replies that are still to come.
  std::size_t awaited() const noexcept { return awaited_; }
  // No more of them come: the connection is lost.
  void forget_replies() noexcept { awaited_ = 0; }
  // The next reply. Appends the task to one of the two, or keeps it for another command.
  void take(ReplyView reply, std::vector<Task>& tasks, std::vector<Outcome>& refused);
  // In place of the next reply: a node of a cluster has said that another one has the key.
  void take_moved(std::vector<Outcome>& refused);

 private:
  Task next();
  static void refuse(Task&& task, std::string_view why, std::vector<Outcome>& refused);

  std::deque<Task> reading_, looking_;  // to be read; read as empty, which may be since the key is not there
  bool looks_ = false;                  // the awaited replies are of looking_
  std::size_t awaited_ = 0;
  std::size_t longest_ = 0;
};

}  // namespace ipcq::bridge
