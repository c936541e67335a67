// Attaching to a broker and a queue in any start order: a program that must wait says for whom.
#pragma once

#include <chrono>
#include <ipcq/session.hpp>
#include <ipcq/stats.hpp>
#include <optional>
#include <string>

namespace ipcq::program {

class CommandLine;

// --wait, --broker and --wait-for.
struct AttachOptions {
  std::string broker;
  std::string wait = "hybrid";
  double wait_for = 5;  // s
};

void add_attach_options(CommandLine& line, AttachOptions& options);

class Attachment {
 public:
  // Empty broker: $IPCQ_BROKER, else "default". Throws as connect() does.
  Attachment(std::string broker, Duration wait_for);

  Session& session() noexcept { return session_; }
  const std::string& broker() const noexcept { return broker_; }
  // The queue's counters. Waits for the queue to appear, as producer().
  QueueStats stats(const std::string& queue);
  // As they are now; none where the broker has no such queue.
  std::optional<QueueStats> stats_now(const std::string& queue) const;
  Producer producer(const std::string& queue, ProducerOptions options);
  // Of a queue that stats() has found. Where its stream is over and nothing of it is left, the consumer waits for the
  // next one, for the whole of wait_for: a consumer opened with no time left would report the old stream's end.
  Consumer consumer(const std::string& queue, ConsumerOptions options);

 private:
  Duration left() const;
  std::string queue_of_broker(const std::string& queue) const;

  std::string broker_;
  Duration wait_for_;
  std::chrono::steady_clock::time_point deadline_;
  Session session_;
};

}  // namespace ipcq::program
