#include "ipcq/admin.hpp"

#include <cerrno>
#include <thread>

#include "control/connection.hpp"
#include "control/stats_codec.hpp"
#include "ipcq/error.hpp"
#include "protocol/doorbell.hpp"

namespace ipcq {
namespace {

using namespace detail;

std::string ask(const std::string& broker, Op op, const std::string& queue, Deadline& appears_by, bool wants_answer) {
  const std::string name = broker_name_or_default(broker);
  Request r;
  r.op = op;
  set_text(r.name, sizeof r.name, queue);
  const Introduction asked = introduce(name, r, appears_by);
  if (asked.reply.refusal != Refusal::none) throw_refusal(asked.reply);
  if (!wants_answer) return {};
  if (!asked.attachment) throw LayoutError("broker '" + name + "': answered without content");
  return read_memfd(asked.attachment.get());
}

}  // namespace

BrokerStats fetch_stats(const std::string& broker, Timeout wait_for) {
  Deadline appears_by(wait_for);
  return decode_stats(ask(broker, Op::stats, {}, appears_by, true));
}

std::string fetch_dump(const std::string& queue, const std::string& broker) {
  check_name(queue, "queue");
  Deadline appears_by = Deadline::none();
  return ask(broker, Op::dump, queue, appears_by, true);
}

void end_of_stream(const std::string& queue, const std::string& broker) {
  check_name(queue, "queue");
  Deadline appears_by = Deadline::none();
  ask(broker, Op::end_of_stream, queue, appears_by, false);
}

void set_executor(const std::string& queue, ExecutorKind kind, const std::string& broker) {
  check_name(queue, "queue");
  const std::string name = broker_name_or_default(broker);
  Request r;
  r.op = Op::set_executor;
  r.executor = kind;
  set_text(r.name, sizeof r.name, queue);
  const std::uint64_t place_by = deadline_after(std::chrono::seconds(1));
  for (;;) {
    Deadline appears_by = Deadline::none();
    const Reply reply = introduce(name, r, appears_by).reply;
    if (reply.refusal == Refusal::none) break;
    if (reply.refusal != Refusal::busy || now_ns() >= place_by) throw_refusal(reply);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  const std::uint64_t deadline = deadline_after(std::chrono::seconds(10));
  for (;;) {
    for (const auto& q : fetch_stats(broker).queues) {
      if (q.name == queue && q.executor == to_string(kind)) return;
    }
    if (now_ns() >= deadline) {
      throw SystemError(ETIMEDOUT, "queue '" + queue + "': executor " + std::string(to_string(kind)) +
                                       " has not begun within 10 s; messages before the switch wait for their "
                                       "payloads (ipcq stats " +
                                       queue + " shows them)");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

}  // namespace ipcq
