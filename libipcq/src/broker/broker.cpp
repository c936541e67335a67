#include "ipcq/broker.hpp"

#include <utility>

#include "broker/broker_core.hpp"
#include "ipcq/error.hpp"

namespace ipcq {

namespace {

detail::BrokerCore& usable(const std::unique_ptr<detail::BrokerCore>& core) {
  if (!core) throw UsageError("broker: none was started here; assign one, as ipcq::Broker({.name = ...})");
  if (core->is_forked_child()) {
    throw UsageError("broker at " + core->socket_path() + ": used after fork; it is the parent's");
  }
  return *core;
}

}  // namespace

Broker::Broker(BrokerOptions options) : core_(std::make_unique<detail::BrokerCore>(options)) {}
Broker::Broker(std::nullptr_t) noexcept {}
Broker::Broker(Broker&&) noexcept = default;
Broker& Broker::operator=(Broker&& other) noexcept {
  if (this != &other) {
    const Broker before(std::move(*this));
    core_ = std::move(other.core_);
  }
  return *this;
}
Broker::~Broker() {
  if (core_ && core_->is_forked_child()) detail::keep_for_ever(std::move(core_));
}
void Broker::create_pool(const std::string& name, PoolOptions options) {
  usable(core_).administration().create_pool(name, options);
}
void Broker::create(const std::string& queue, QueueOptions options) {
  usable(core_).administration().create_queue(queue, options);
}
std::uint64_t Broker::remove(const std::string& queue, Removal how) {
  return usable(core_).administration().remove_queue(queue, how);
}
void Broker::remove_pool(const std::string& name) { usable(core_).administration().remove_pool(name); }
void Broker::pause(const std::string& queue, const std::string& group) {
  detail::BrokerCore& core = usable(core_);
  detail::check_name(queue, "queue");
  core.administration().pause(queue, group);
}
void Broker::resume(const std::string& queue, const std::string& group) {
  detail::BrokerCore& core = usable(core_);
  detail::check_name(queue, "queue");
  core.administration().resume(queue, group);
}
std::uint64_t Broker::drain(const std::string& queue, Timeout drain_for) {
  detail::BrokerCore& core = usable(core_);
  detail::check_name(queue, "queue");
  detail::Deadline deadline(drain_for);
  return core.administration().drain(queue, deadline);
}
void Broker::end_of_stream(const std::string& queue) {
  detail::BrokerCore& core = usable(core_);
  detail::check_name(queue, "queue");
  core.end_of_stream(queue);
}
void Broker::save_state(const std::string& queue, const std::string& file) {
  detail::BrokerCore& core = usable(core_);
  detail::check_name(queue, "queue");
  detail::check_c_string(file, "a state's file");
  core.save_state(queue, file);
}
void Broker::load_state(const std::string& queue, const std::string& file) {
  detail::BrokerCore& core = usable(core_);
  detail::check_name(queue, "queue");
  detail::check_c_string(file, "a state's file");
  core.load_state(queue, file);
}
void Broker::replace_handler(const std::string& queue, const std::string& handler) {
  detail::BrokerCore& core = usable(core_);
  detail::check_name(queue, "queue");
  core.replace_handler(queue, handler);
}
std::uint64_t Broker::stop(Timeout drain_for) {
  detail::Deadline drained_by(drain_for);
  return core_ ? core_->stop(drained_by) : 0;
}
BrokerStats Broker::stats() const { return usable(core_).stats(); }
std::string Broker::socket_path() const {
  if (!core_) (void)usable(core_);  // throws
  return core_->socket_path();
}
std::string Broker::dump(const std::string& queue) const {
  const detail::BrokerCore& core = usable(core_);
  detail::check_name(queue, "queue");
  return core.dump(queue);
}

}  // namespace ipcq
