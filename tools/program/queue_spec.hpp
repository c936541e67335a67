// Parses queues and pools as a command line or a configuration file describes them. For one thread.
//
//   frames=4k-rgb,slots=8,handler=invert      logs=4KiB,slots=1024,group=archive,group=live:lossy      ticks=inline
//   frames=4k-rgb,slots=64,handler=invert,backend=cuda,device=1,mirror=none,executor=stream
//
// The first word may be the size of a slot, without a key. Keys: size slots lines line batch handler define include
// pool backpressure group paused threads wait endpoints held backend, and on a GPU device mirror host_readable
// executor; of a pool: size slots backend device mirror.
#pragma once

#include <functional>
#include <ipcq/options.hpp>
#include <set>
#include <string>
#include <string_view>

namespace ipcq::program {

class QueueSpec {
 public:
  explicit QueueSpec(std::string name);
  // Parses "NAME=SPEC". Throws UsageError, which names the queue, the key and the values that are allowed.
  static QueueSpec parse(std::string_view text);

  // Sets one key, from either source. Each `group`, `define` and `include` adds one; any other key may be set once.
  void set(std::string_view key, std::string_view value);
  // Checks the combination of keys. Called once, after the last set().
  void finish();

  // Where relative paths of a handler and its headers begin; without it: in this process' current folder.
  void begin_paths_at(const std::string& folder);

  const std::string& name() const noexcept { return name_; }
  const QueueOptions& options() const noexcept { return options_; }
  // Backend for a queue whose spec leaves the choice open.
  void default_backend(const std::string& backend);

 private:
  std::string what(std::string_view key) const;
  bool has(std::string_view key) const;
  bool set_of_handler(std::string_view key, std::string_view value);
  bool set_of_messages(std::string_view key, std::string_view value);
  void set_size(std::string_view value);
  void add_group(GroupOptions group);

  std::string name_;
  QueueOptions options_;
  std::set<std::string, std::less<>> seen_;
  bool inline_ = false;  // the size is `inline`
  bool groups_given_ = false;
};

class PoolSpec {
 public:
  explicit PoolSpec(std::string name);
  static PoolSpec parse(std::string_view text);
  void set(std::string_view key, std::string_view value);
  void finish();
  const std::string& name() const noexcept { return name_; }
  const PoolOptions& options() const noexcept { return options_; }
  void default_backend(const std::string& backend);

 private:
  std::string name_;
  PoolOptions options_;
  std::set<std::string, std::less<>> seen_;
};

}  // namespace ipcq::program
