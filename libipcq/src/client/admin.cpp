#include "ipcq/admin.hpp"

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <thread>
#include <utility>

#include "base/memory_file.hpp"
#include "control/connection.hpp"
#include "control/options_codec.hpp"
#include "control/stats_codec.hpp"
#include "ipcq/builtin_handlers.hpp"
#include "ipcq/error.hpp"
#include "protocol/doorbell.hpp"

namespace ipcq {
namespace {

using namespace detail;

std::string ask(const std::string& broker, Op op, const std::string& queue, Deadline& appears_by, bool wants_answer) {
  const std::string name = broker_name_or_default(broker);
  detail::Request r;
  r.op = op;
  set_text(r.name, sizeof r.name, queue);
  const Introduction asked = introduce(name, r, appears_by);
  if (asked.reply.refusal != Refusal::none) {
    throw_refusal(asked.reply, text_of_refusal(asked.reply, asked.attachment));
  }
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
    detail::Request hello;
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
  Fd ask(Op op, std::uint32_t flags = 0, std::uint32_t bytes = 0) {
    request_.op = op;
    request_.flags = flags;
    request_.bytes = bytes;
    ++request_.serial;
    const std::uint64_t deadline = deadline_after(kErrandWithin);
    send_request(connection_, broker_, request_, deadline);
    Fd attachment;
    const detail::Reply reply = receive_reply(connection_, broker_, attachment, deadline);
    messages_ = reply.messages;
    if (reply.refusal == Refusal::none) return attachment;
    throw_refusal(reply, text_of_refusal(reply, attachment));
  }
  Fd ask_for_file(Op op, std::uint32_t flags = 0, std::uint32_t bytes = 0) {
    Fd file = ask(op, flags, bytes);
    if (!file) throw LayoutError("broker '" + broker_ + "': answered without content");
    return file;
  }
  // `flags`: what the upload is for.
  void ask_with(const std::string& content, Op op, std::uint32_t flags, const std::string& object) {
    if (content.size() > kMostUploadBytes) {
      throw UsageError(object + ": what it is to be takes " + std::to_string(content.size()) +
                       " bytes to say; there may be " + std::to_string(kMostUploadBytes));
    }
    const Fd upload = ask_for_file(Op::open_upload, flags, static_cast<std::uint32_t>(content.size()));
    write_at_begin(upload.get(), content, object);
    (void)ask(op);
  }
  void set_group(const std::string& group) { set_text(request_.group, sizeof request_.group, group); }
  // How many the last answer has counted.
  std::uint64_t messages() const noexcept { return messages_; }

 private:
  const std::string broker_;
  Connection connection_;
  detail::Request request_{.serial = 1};  // of the hello
  std::uint64_t messages_ = 0;
};

void ask_of_group(Op op, const std::string& queue, const std::string& group, const std::string& broker) {
  check_name(queue, "queue");
  if (!group.empty()) check_name(group, "group");
  Conversation with(broker, queue);
  with.set_group(group);
  (void)with.ask(op);
}

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
  std::string text = with_absolute_path(handler);
  text.push_back('\0');
  Conversation(broker, queue).ask_with(text, Op::replace_handler, kForHandler, "queue '" + queue + "'");
}

void create_queue(const std::string& queue, QueueOptions options, const std::string& broker) {
  check_name(queue, "queue");
  options.handler = with_absolute_path(options.handler);
  for (std::string& folder : options.includes) folder = (std::filesystem::current_path() / folder).string();
  if (!options.state_file.empty()) options.state_file = std::filesystem::current_path() / options.state_file;
  Conversation(broker, queue).ask_with(encode(options), Op::create_queue, kForCreation, "queue '" + queue + "'");
}

void create_pool(const std::string& pool, PoolOptions options, const std::string& broker) {
  check_name(pool, "pool");
  Conversation(broker, pool).ask_with(encode(options), Op::create_pool, kForCreation | kOfPool, "pool '" + pool + "'");
}

std::uint64_t remove_queue(const std::string& queue, Removal how, const std::string& broker) {
  check_name(queue, "queue");
  Conversation with(broker, queue);
  (void)with.ask(Op::remove_queue, how == Removal::at_once ? std::uint32_t{kAtOnce} : 0);
  return with.messages();
}

void remove_pool(const std::string& pool, const std::string& broker) {
  check_name(pool, "pool");
  (void)Conversation(broker, pool).ask(Op::remove_pool);
}

void pause(const std::string& queue, const std::string& group, const std::string& broker) {
  ask_of_group(Op::pause, queue, group, broker);
}

void resume(const std::string& queue, const std::string& group, const std::string& broker) {
  ask_of_group(Op::resume, queue, group, broker);
}

std::uint64_t drain(const std::string& queue, Timeout drain_for, const std::string& broker) {
  check_name(queue, "queue");
  Deadline deadline(drain_for);
  Conversation with(broker, queue);
  for (std::uint32_t flags = 0;; flags = kOnlyCount) {
    (void)with.ask(Op::drain, flags);
    if (with.messages() == 0 || deadline.has_passed()) return with.messages();
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
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
  detail::Request r;
  r.op = Op::set_executor;
  r.executor = kind;
  set_text(r.name, sizeof r.name, queue);
  const std::uint64_t place_by = deadline_after(std::chrono::seconds(1));
  for (;;) {
    Deadline appears_by = Deadline::none();
    const detail::Reply reply = introduce(name, r, appears_by).reply;
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
