// Attaches a program to a broker and a queue, which may start in any order. A program that must wait logs what it waits
// for. For one thread.
#pragma once

#include <chrono>
#include <ipcq/calls.hpp>
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

// --broker.
void add_broker_option(CommandLine& line, std::string& broker);
void add_attach_options(CommandLine& line, AttachOptions& options);

class Attachment {
 public:
  // Empty broker: $IPCQ_BROKER, else "default". Throws as connect() does.
  Attachment(std::string broker, Duration wait_for);

  Session& session() noexcept { return session_; }
  const std::string& broker() const noexcept { return broker_; }
  // The queue's counters. Waits for the queue to appear, as producer(); also for that of the broker's successor, where
  // it dies meanwhile. Before any endpoint.
  QueueStats stats(const std::string& queue);
  // The same without waiting; none when the broker has no such queue.
  std::optional<QueueStats> stats_now(const std::string& queue) const;
  Producer producer(const std::string& queue, ProducerOptions options);
  // Waits also for a queue that is being created anew, since its runner was lost.
  Client client(const std::string& queue, ClientOptions options);
  // For a queue that stats() has found. If its stream has ended and no message is left, the consumer waits the whole of
  // wait_for for the next stream; with less time it would report the end of the old one.
  Consumer consumer(const std::string& queue, ConsumerOptions options);

 private:
  Session session(Duration wait_for) const;
  Duration left() const;
  std::string queue_of_broker(const std::string& queue) const;

  std::string broker_;
  Duration wait_for_;
  std::chrono::steady_clock::time_point deadline_;
  Session session_;
};

}  // namespace ipcq::program
