// ListReader: takes tasks out of lists or sorted sets, which is to move them to what this consumer has taken
// (bridge/scripts/take.lua), one command at a time on a connection of its own:
//
//   inherit once: what a bridge of this name has left, which has gone, is put back
//   adopt   after each later connect: what this consumer has taken, and did not reach it
//   tokens  with a rate: how many may be taken now
//   take    of the sources in their order, as many as there is room for
//   wait    for one list: in the server, half a second; else it looks again after a while, or when it is woken
//
// For one thread.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "counters.hpp"
#include "redis/scripts.hpp"
#include "settings.hpp"
#include "tasks/held_tasks.hpp"
#include "tasks/reader.hpp"
#include "tasks/source_order.hpp"

namespace ipcq::bridge {

class ListReader final : public Reader {
 public:
  ListReader(const EngineSettings& settings, Counters& counters, HeldTasks& held);

  void attach(Connection& connection) override;
  std::optional<Milliseconds> unheard_of(Connection& connection) const override;
  void step(Room room, std::vector<Task>& tasks, std::vector<Outcome>& refused) override;
  void wake() override { not_before_ = {}; }
  void stop() override { stopping_ = true; }
  // What a waiting command has moved is taken first.
  bool has_stopped() const override { return stopping_ && asked_ == Asked::nothing && !moved_; }
  Clock::time_point empty_at() const override { return empty_at_; }
  Clock::time_point due() const override;

 private:
  enum class Asked { nothing, inherit, adopt, tokens, take, wait };

  void refuse_other_types();
  void ask(std::size_t room);
  void ask_take(std::size_t room);
  void ask_wait();
  void take(ReplyView reply, std::vector<Task>& tasks);
  void adopt(ReplyView reply, std::vector<Task>& tasks);
  void take_tasks(ReplyView reply, std::vector<Task>& tasks);
  void add_task(std::size_t source, std::string_view payload, std::uint32_t attempts, std::vector<Task>& tasks);
  void answer_error(ReplyView reply);
  std::string_view kind() const { return kind_name(settings_.kind); }

  const EngineSettings& settings_;
  Counters& counters_;
  HeldTasks& held_;
  SourceOrder order_;
  Script take_{"take"}, tokens_{"tokens"}, adopt_{"adopt_taken"}, recover_{"recover"};
  Connection* connection_ = nullptr;
  Asked asked_ = Asked::nothing;
  bool stopping_ = false;
  Clock::time_point round_began_{}, empty_at_{};
  std::size_t inheriting_ = 0;        // source that is next; past the last: none
  std::size_t adopting_ = 0;          // source whose taken tasks are next; past the last: none
  std::vector<std::size_t> turn_;     // sources still to be looked at in this round
  std::optional<std::string> moved_;  // what a waiting command has taken, and whose attempts are not known
  bool waits_ = false;                // the last round found nothing: wait in the server
  std::size_t granted_ = 0;           // tokens that are not used
  Clock::time_point not_before_{}, last_warning_{};
};

}  // namespace ipcq::bridge
