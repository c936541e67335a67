#include "broker/broker_context.hpp"

#include <grp.h>

#include <algorithm>
#include <string_view>

#include "base/deadline.hpp"
#include "control/control.hpp"

namespace ipcq::detail {
namespace {

constexpr std::uint64_t kComplainEveryNs = 1'000'000'000;

std::int64_t gid_of(const std::string& group) {
  check_c_string(group, "unix group");
  const ::group* entry = ::getgrnam(group.c_str());
  if (entry == nullptr) throw UsageError("unix group '" + group + "': does not exist on this system");
  return static_cast<std::int64_t>(entry->gr_gid);
}

Segment::Access access_for(const std::string& group) {
  if (group.empty()) return {};
  return {.mode = 0660, .gid = gid_of(group)};
}

std::int64_t admin_gid_of(const BrokerOptions& options) {
  if (options.admin_group.empty()) return -1;
  if (options.group.empty()) {
    throw UsageError("admin group '" + printable(options.admin_group) +
                     "': only this user may connect; name a group whose members may, too (group, --unix-group), which "
                     "may be the same");
  }
  return gid_of(options.admin_group);
}

}  // namespace

BrokerContext::BrokerContext(const BrokerOptions& options)
    : access((reserve_standard_descriptors(), access_for(options.group))),  // before it opens anything
      admin_gid(admin_gid_of(options)),
      max_queues(options.max_queues),
      max_memory(options.max_memory),
      name(options.name),
      started_at_ns(now_ns()),
      quit(make_eventfd()),
      polls("broker '" + name.name() + "'"),
      log_(options.log),
      self_("broker '" + name.name() + "'") {
  access.log = [this](LogLevel level, const std::string_view text) { log(level, std::string(text)); };
  if (!name.closed().empty()) log(LogLevel::warning, self_ + ": " + name.closed());
  if (!name.leftovers().empty()) {
    log(LogLevel::warning, self_ + ": the last one of this name did not stop cleanly; removed " + name.leftovers());
  }
  reserve.fill();
  polls.watch(quit.get());
}

void BrokerContext::complain(const std::string& text) {
  const std::uint64_t now = now_ns();
  if (complained_at_ns_ != 0 && now - complained_at_ns_ < kComplainEveryNs) {
    ++complaints_kept_;
    return;
  }
  log(LogLevel::warning, text + (complaints_kept_ == 0 ? "" : "; and " + std::to_string(complaints_kept_) + " more"));
  complained_at_ns_ = now;
  complaints_kept_ = 0;
}

Fd BrokerContext::long_text(const std::string& text) {
  if (text.size() < sizeof Reply::text) return {};
  try {
    return make_memfd(text);
  } catch (const SystemError& e) {
    complain(self() + ": " + e.what());
    return {};
  }
}

void BrokerContext::check_running(const std::string& object) const {
  if (stopped) throw UsageError(object + ": the broker has stopped");
}

std::uint64_t BrokerContext::new_generation() noexcept {
  last_generation_ = std::max(last_generation_ + 1, now_ns());
  return last_generation_;
}

}  // namespace ipcq::detail
