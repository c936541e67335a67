#include "lifecycle.hpp"

#include <cstdint>
#include <ipcq/admin.hpp>
#include <ipcq/error.hpp>

#include <fmt/format.h>

#include "program/attach.hpp"
#include "program/exit_code.hpp"
#include "program/logging.hpp"
#include "program/queue_spec.hpp"

namespace ipcq::program {
namespace {

std::string messages(std::uint64_t count) { return fmt::format("{} message{}", count, count == 1 ? "" : "s"); }

}  // namespace

CommandLine LifeCycle::add(CommandLine& line, const char* name, const char* help) {
  auto command = line.add_command(name, help);
  add_broker_option(command, broker_);
  return command;
}

LifeCycle::LifeCycle(CommandLine& line)
    : create_(add(line, "create", "Create a queue, or a pool")),
      delete_(add(line, "delete", "Remove a queue that nobody uses, or a pool")),
      pause_(add(line, "pause", "Let nothing leave a queue, or a group: its handler and consumers get no message")),
      resume_(add(line, "resume",
                  "Let a paused queue go on, and open its intake again if it was drained; a group that was paused by "
                  "name goes on by name")),
      drain_(add(line, "drain", "Close a queue's intake and wait until all groups have taken everything")) {
  create_
      .add_option("SPEC", spec_,
                  "NAME=SIZE,KEY=VALUE,..., as jobs=4KiB,slots=64,handler=upper: `ipcq-broker --help` has the keys "
                  "of --queue and --pool")
      .required()
      .check(not_empty());
  create_.add_flag("--pool", is_pool_, "It is a pool");
  delete_.add_option("NAME", name_, "Queue or pool").required().check(object_name());
  const auto pool = delete_.add_flag("--pool", is_pool_, "It is a pool");
  delete_.add_flag("--force", force_, "Also if it is in use: its clients are told that it is closed, its messages go")
      .excludes(pool);
  for (CommandLine* const c : {&pause_, &resume_}) {
    c->add_option("QUEUE", name_, "Queue").required().check(object_name());
    c->add_option("--group", group_, "Only this group [the whole queue]").check(object_name());
  }
  drain_.add_option("QUEUE", name_, "Queue").required().check(object_name());
  drain_.add_option("--timeout", timeout_, "Seconds to wait at most [for ever]").transform(not_negative());
}

int LifeCycle::remove() const {
  if (is_pool_) {
    remove_pool(name_, broker_);
    return kOk;
  }
  const std::uint64_t left = remove_queue(name_, force_ ? Removal::at_once : Removal::if_unused, broker_);
  if (left != 0) log::warn("queue '{}': {} went with it", name_, messages(left));
  return kOk;
}

// What of the queue is paused, for people; empty: nothing.
std::string LifeCycle::paused() const {
  std::string text;
  for (const QueueStats& queue : fetch_stats(broker_).queues) {
    if (queue.name != name_) continue;
    if (queue.paused) text = "the queue is paused";
    for (const GroupStats& group : queue.groups) {
      if (group.paused) text += fmt::format("{}group '{}' is paused", text.empty() ? "" : ", ", group.name);
    }
  }
  return text;
}

int LifeCycle::drain() const {
  std::uint64_t left = ipcq::drain(name_, Duration::zero(), broker_);
  if (const auto text = left == 0 ? std::string() : paused(); !text.empty()) {
    log::warn("queue '{}': {}, so nothing is taken until that ends (`ipcq resume`)", name_, text);
  }
  if (left != 0) left = ipcq::drain(name_, timeout_ < 0 ? kForever : to_duration(timeout_), broker_);
  if (left == 0) return kOk;
  throw Failure(kTimeout, fmt::format("queue '{}': {} left that a group has not taken and released; its intake is "
                                      "closed (`ipcq stats {}` shows the groups, `ipcq resume {}` opens it again)",
                                      name_, messages(left), name_, name_));
}

bool LifeCycle::run(int& code) const {
  code = kOk;
  if (create_.is_chosen()) {
    if (is_pool_) {
      const PoolSpec pool = PoolSpec::parse(spec_);
      create_pool(pool.name(), pool.options(), broker_);
    } else {
      const QueueSpec queue = QueueSpec::parse(spec_);
      create_queue(queue.name(), queue.options(), broker_);
    }
  } else if (delete_.is_chosen()) {
    code = remove();
  } else if (pause_.is_chosen()) {
    ipcq::pause(name_, group_, broker_);
  } else if (resume_.is_chosen()) {
    resume(name_, group_, broker_);
  } else if (drain_.is_chosen()) {
    code = drain();
  } else {
    return false;
  }
  return true;
}

}  // namespace ipcq::program
