#include "program/attach.hpp"

#include <algorithm>
#include <cstdlib>
#include <ipcq/admin.hpp>
#include <ipcq/error.hpp>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "program/command_line.hpp"
#include "program/logging.hpp"

namespace ipcq::program {
namespace {

std::string broker_name(const std::string& given) {
  if (!given.empty()) return given;
  const char* variable = std::getenv("IPCQ_BROKER");
  return variable != nullptr && *variable != '\0' ? variable : "default";
}

// Tries without waiting; if that finds no broker or no queue, logs what it waits for, and tries for `wait_for`.
template <class Attempt>
auto attempt_then_wait(const std::string& whom, Duration wait_for, const Attempt& attempt) {
  if (wait_for > Duration::zero()) {
    try {
      return attempt(Duration::zero());
    } catch (const NotFoundError&) {
      log::info("waiting up to {:.1f} s for {}", std::chrono::duration<double>(wait_for).count(), whom);
    }
  }
  return attempt(wait_for);
}

}  // namespace

void add_broker_option(CommandLine& line, std::string& broker) {
  line.add_option("--broker", broker, "Broker name or socket path [$IPCQ_BROKER, else default]").check(not_empty());
}

void add_attach_options(CommandLine& line, AttachOptions& o) {
  line.add_option("--wait", o.wait, "spin, hybrid or sleep").environment("IPCQ_WAIT").show_default();
  add_broker_option(line, o.broker);
  line.add_option("--wait-for", o.wait_for, "Seconds to wait for broker and queue to appear")
      .environment("IPCQ_WAIT_FOR")
      .transform(not_negative())
      .show_default();
}

Attachment::Attachment(std::string broker, Duration wait_for)
    : broker_(broker_name(broker)),
      wait_for_(wait_for),
      deadline_(std::chrono::steady_clock::now() + wait_for),
      session_(attempt_then_wait("broker '" + broker_ + "'", wait_for,
                                 [this](Duration patience) { return session(patience); })) {}

Session Attachment::session(Duration wait_for) const {
  return connect({.broker = broker_, .wait_for = wait_for, .log = library_log()});
}

Duration Attachment::left() const {
  return std::max(Duration::zero(), std::chrono::duration_cast<Duration>(deadline_ - std::chrono::steady_clock::now()));
}

std::string Attachment::queue_of_broker(const std::string& queue) const {
  return "queue '" + queue + "' of broker '" + broker_ + "'";
}

std::optional<QueueStats> Attachment::stats_now(const std::string& queue) const {
  for (auto& candidate : fetch_stats(broker_).queues) {
    if (candidate.name == queue) return std::move(candidate);
  }
  return {};
}

QueueStats Attachment::stats(const std::string& queue) {
  return attempt_then_wait(queue_of_broker(queue), left(), [&](Duration patience) {
    for (const auto deadline = std::chrono::steady_clock::now() + patience;;) {
      const bool is_last = std::chrono::steady_clock::now() >= deadline;
      try {
        if (auto found = stats_now(queue)) {
          if (!session_.connected()) session_ = session(left());  // of the broker's successor
          return std::move(*found);
        }
      } catch (const NotFoundError&) {  // it has died since
        if (is_last) throw;
      }
      if (is_last) {
        throw NotFoundError(
            fmt::format("broker '{}' has no queue '{}'; `ipcq stats` shows those it has", broker_, queue));
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  });
}

Producer Attachment::producer(const std::string& queue, ProducerOptions options) {
  return attempt_then_wait(queue_of_broker(queue), left(), [&](Duration patience) {
    options.wait_for = patience;
    return session_.producer(queue, options);
  });
}

Client Attachment::client(const std::string& queue, ClientOptions options) {
  return attempt_then_wait(queue_of_broker(queue), left(), [&](Duration patience) {
    options.wait_for = patience;
    return session_.client(queue, options);
  });
}

Consumer Attachment::consumer(const std::string& queue, ConsumerOptions options) {
  options.wait_for = wait_for_;
  return session_.consumer(queue, options);
}

}  // namespace ipcq::program
