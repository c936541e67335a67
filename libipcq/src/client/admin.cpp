#include "ipcq/admin.hpp"

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <thread>
#include <utility>

#include "base/memory_file.hpp"
#include "control/connection.hpp"
#include "control/stats_codec.hpp"
#include "ipcq/builtin_handlers.hpp"
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

constexpr std::chrono::minutes kErrandWithin{15};  // compiling may take ten

// Several requests on one connection. The broker may take its time for each.
class Conversation {
 public:
  Conversation(const std::string& broker, const std::string& queue) : broker_(broker_name_or_default(broker)) {
    set_text(request_.name, sizeof request_.name, queue);
    Request hello;
    Deadline appears_by = Deadline::none();
    Introduction made = introduce(broker_, hello, appears_by);
    if (made.reply.refusal != Refusal::none) throw_refusal(made.reply);
    connection_ = std::move(made.connection);
  }
  // So that the broker does not take the end of the connection for that of a process.
  ~Conversation() {
    try {
      (void)ask(Op::bye);
    } catch (const Error&) {  // the broker has gone
    }
  }
  Conversation(const Conversation&) = delete;
  Conversation& operator=(const Conversation&) = delete;

  // Throws what a refusal stands for. Returns the descriptor of the answer.
  Fd ask(Op op, std::uint32_t flags = 0) {
    request_.op = op;
    request_.flags = flags;
    ++request_.serial;
    const std::uint64_t deadline = deadline_after(kErrandWithin);
    send_request(connection_, broker_, request_, deadline);
    Fd attachment;
    const Reply reply = receive_reply(connection_, broker_, attachment, deadline);
    if (reply.refusal == Refusal::none) return attachment;
    if (attachment) throw_refusal(reply.refusal, read_memfd(attachment.get()));  // for a text that the reply cuts off
    throw_refusal(reply);
  }
  Fd ask_for_file(Op op, std::uint32_t flags = 0) {
    Fd file = ask(op, flags);
    if (!file) throw LayoutError("broker '" + broker_ + "': answered without content");
    return file;
  }

 private:
  const std::string broker_;
  Connection connection_;
  Request request_{.serial = 1};  // of the hello
};

// Of a handler's file; its arguments stay.
std::string with_absolute_path(const std::string& handler) {
  if (!is_handler_file(handler)) return handler;
  return (std::filesystem::current_path() / handler).string();
}

}  // namespace

void save_state(const std::string& queue, const std::string& file, const std::string& broker) {
  check_name(queue, "queue");
  check_c_string(file, "a state's file");
  Conversation with(broker, queue);
  write_out(with.ask_for_file(Op::save_state).get(), file, "queue '" + queue + "'");
}

void load_state(const std::string& queue, const std::string& file, const std::string& broker) {
  check_name(queue, "queue");
  check_c_string(file, "a state's file");
  Conversation with(broker, queue);
  const Fd upload = with.ask_for_file(Op::open_upload);
  read_into(upload.get(), size_of(upload.get(), "queue '" + queue + "'"), file, "queue '" + queue + "'");
  (void)with.ask(Op::load_state);
}

void replace_handler(const std::string& queue, const std::string& handler, const std::string& broker) {
  check_name(queue, "queue");
  check_c_string(handler, "handler");
  const std::string text = with_absolute_path(handler);
  if (text.size() >= kHandlerUploadBytes) {
    throw UsageError("queue '" + queue + "': its new handler has " + std::to_string(text.size()) +
                     " characters; there may be " + std::to_string(kHandlerUploadBytes - 1));
  }
  Conversation with(broker, queue);
  const Fd upload = with.ask_for_file(Op::open_upload, kForHandler);
  write_at_begin(upload.get(), text, "queue '" + queue + "'");
  (void)with.ask(Op::replace_handler);
}

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
