#include "ipcq/session.hpp"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/os.hpp"
#include "client/caller_core.hpp"
#include "client/consumer_core.hpp"
#include "client/producer_core.hpp"
#include "client/record_packer.hpp"
#include "client/record_reader.hpp"
#include "client/server_core.hpp"
#include "client/session_core.hpp"
#include "ipcq/error.hpp"
#include "ipcq/schema.hpp"

namespace ipcq {

Session connect(ConnectOptions options) { return Session(std::make_shared<detail::SessionCore>(options)); }

Session::Session() noexcept = default;
Session::Session(std::shared_ptr<detail::SessionCore> core) noexcept : core_(std::move(core)) {}
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&& other) noexcept {
  if (this != &other) {
    const Session before(std::move(*this));
    core_ = std::move(other.core_);
  }
  return *this;
}
Session::~Session() {
  if (core_ && core_->is_forked_child()) detail::keep_for_ever(std::move(core_));
}

void Session::interrupt() noexcept {
  if (core_) core_->interrupt();
}
void Session::resume() noexcept {
  if (core_) core_->resume();
}
bool Session::connected() const noexcept { return core_ && core_->connected(); }

detail::SessionCore& Session::core(const std::string& queue) const {
  if (!core_) throw UsageError("queue '" + queue + "': this session is not connected; assign one of ipcq::connect()");
  return *core_;
}

namespace {

// Throws UsageError for a text that no request has room for.
detail::SchemaClaim claim(const std::string& sent, const std::string& received) {
  if (sent.size() > Schema::kMostBytes) (void)Schema::parse(sent);
  if (received.size() > Schema::kMostBytes) (void)Schema::parse(received);
  return {sent, received};
}

// The request for an endpoint; `group`: a consumer's. Throws UsageError for a name that is none.
detail::Request opening(detail::Op op, const std::string& queue, std::uint32_t flags, const std::string& group = {}) {
  detail::check_name(queue, "queue");
  if (op == detail::Op::open_consumer) detail::check_name(group, "group");
  detail::Request r;
  r.op = op;
  r.flags = flags;
  detail::set_text(r.name, sizeof r.name, queue);
  detail::set_text(r.group, sizeof r.group, group);
  return r;
}

}  // namespace

Producer Session::producer(const std::string& queue, ProducerOptions options) {
  const auto r = opening(detail::Op::open_producer, queue, options.cuda ? std::uint32_t{detail::kUsesCuda} : 0);
  detail::Deadline deadline(options.wait_for);
  const auto attachment = core(queue).attach(r, claim(options.schema, {}), deadline);
  auto producer = std::make_unique<detail::ProducerCore>(core_, attachment, options.wait);
  detail::pack_records(*producer);
  return Producer(std::move(producer));
}

Consumer Session::consumer(const std::string& queue, ConsumerOptions options) {
  const auto r = opening(
      detail::Op::open_consumer, queue,
      (options.lossy ? std::uint32_t{detail::kLossy} : 0) | (options.cuda ? std::uint32_t{detail::kUsesCuda} : 0),
      options.group);
  detail::Deadline deadline(options.wait_for);
  const auto attachment = core(queue).attach(r, claim({}, options.schema), deadline);
  auto consumer = std::make_unique<detail::ConsumerCore>(core_, attachment, options);
  detail::show_records(*consumer);
  return Consumer(std::move(consumer));
}

Client Session::client(const std::string& queue, ClientOptions options) {
  const auto r = opening(detail::Op::open_producer, queue, detail::kForCalls);
  detail::Deadline deadline(options.wait_for);
  const auto attachment = core(queue).attach(r, claim(options.schema, options.result_schema), deadline);
  auto caller = std::make_unique<detail::CallerCore>(core_, attachment, options);
  const std::size_t most = std::max(caller->producer().slot_bytes(), caller->inline_reply_bytes());
  if (options.reply_bytes > most) {
    throw UsageError("queue '" + queue + "': reply_bytes is " + std::to_string(options.reply_bytes) +
                     ", and a reply of this queue has " + std::to_string(most) + " bytes at most; create it with " +
                     (caller->producer().slot_bytes() != 0 ? "larger slots (size)" : "slots (slots, size)"));
  }
  return Client(std::move(caller));
}

Server Session::server(const std::string& queue, ServerOptions options) {
  const auto r = opening(detail::Op::open_consumer, queue, detail::kForCalls, detail::group_of_calls({}));
  detail::Deadline deadline(options.wait_for);
  const auto attachment = core(queue).attach(r, claim(options.schema, options.result_schema), deadline);
  return Server(std::make_unique<detail::ServerCore>(core_, attachment, options));
}

}  // namespace ipcq
