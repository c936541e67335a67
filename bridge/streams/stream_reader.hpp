// StreamReader: takes tasks out of streams as a member of their consumer group, one command at a time on a connection
// of its own:
//
//   inherit  once: what the group has given to a bridge of this name before, which has gone
//   adopt    after each later connect: what the group has given to this one, and did not reach it; and with the claims,
//            what nobody renews: that was given to another bridge of this name, which has gone
//   claim    now and then: tasks that other consumers have not renewed
//   tokens   with a rate: how many may be read now
//   fetch    payloads that stand in keys of their own
//   read one, read all   new tasks: of the sources in their order without waiting, then of all, for half a second
//
// For one thread.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "counters.hpp"
#include "redis/scripts.hpp"
#include "settings.hpp"
#include "streams/consumer_group.hpp"
#include "streams/keyed_payloads.hpp"
#include "tasks/held_tasks.hpp"
#include "tasks/reader.hpp"
#include "tasks/source_order.hpp"

namespace ipcq::bridge {

class StreamReader final : public Reader {
 public:
  StreamReader(const EngineSettings& settings, Counters& counters, HeldTasks& held);

  // Also creates the groups that are missing.
  void attach(Connection& connection) override;
  std::optional<Milliseconds> unheard_of(Connection& connection) const override {
    return consumer_unheard_of(connection, settings_);
  }
  void step(Room room, std::vector<Task>& tasks, std::vector<Outcome>& refused) override;
  void wake() override {}  // it waits in the server
  void stop() override { stopping_ = true; }
  bool has_stopped() const override { return stopping_ && asked_ == Asked::nothing && payloads_.empty(); }
  Clock::time_point empty_at() const override { return empty_at_; }
  Clock::time_point due() const override;

 private:
  enum class Asked { nothing, inherit, adopt, fetch, claim, tokens, read_one, read_all };

  void ask(Room room);
  void ask_adopt(std::size_t room);
  void ask_claim(std::size_t room, Asked what);
  void ask_tokens(std::size_t room);
  void ask_read(std::size_t room);
  void take(ReplyView reply, std::vector<Task>& tasks, std::vector<Outcome>& refused);
  std::size_t take_streams(ReplyView reply, std::vector<Task>& tasks, std::vector<Outcome>& refused);
  void take_adopted(ReplyView reply, std::vector<Task>& tasks, std::vector<Outcome>& refused);
  void take_claimed(Asked asked, ReplyView reply, std::vector<Task>& tasks, std::vector<Outcome>& refused);
  void take_entry(std::size_t source, ReplyView id, ReplyView fields, std::uint32_t deliveries,
                  std::vector<Task>& tasks, std::vector<Outcome>& refused);
  void answer_error(Asked asked, ReplyView reply);
  std::size_t source_of(std::string_view name) const;

  const EngineSettings& settings_;
  Counters& counters_;
  HeldTasks& held_;
  SourceOrder order_;
  Script claim_{"claim_entries"}, adopt_{"adopt_entries"}, tokens_{"tokens"};
  Connection* connection_ = nullptr;
  Asked asked_ = Asked::nothing;
  bool stopping_ = false;
  Clock::time_point asked_at_{}, empty_at_{};
  std::size_t adopting_ = 0;     // source whose own entries are next; past the last: none
  std::string adopted_;          // the last id of these
  std::string adopt_idle_;       // ms for which nobody has renewed them
  std::size_t inheriting_ = 0;   // source that is next; past the last: none
  std::string inherited_ = "-";  // where to go on there
  std::size_t claiming_ = 0;     // source that is next
  Clock::time_point next_claim_{};
  std::vector<std::size_t> turn_;  // sources still to be read without waiting
  bool turned_ = false;            // turn_ is of this round; when it is used up, all are read together
  std::size_t claims_asked_ = 0;
  KeyedPayloads payloads_;
  std::size_t granted_ = 0;  // tokens that are not used
  Clock::time_point not_before_{}, last_warning_{};
};

}  // namespace ipcq::bridge
