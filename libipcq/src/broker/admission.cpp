#include "broker/admission.hpp"

#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>

namespace ipcq::detail {
namespace {

// Two for connections that ask one question and say no hello (the pidfd that a hello takes is not lent), one for the
// memfd of an answer, one to accept a connection and refuse it.
constexpr std::uint64_t kReserve = 4;

}  // namespace

Share share_of(std::uint64_t open_files) noexcept {
  return {std::clamp<std::uint64_t>(open_files / 8, 8, 256), open_files / 2};
}

std::uint64_t open_files_limit() noexcept {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  return limit.rlim_cur;
}

bool is_owner(uid_t uid) noexcept { return uid == 0 || uid == ::geteuid(); }

Admittance admit(uid_t newcomer, const Load& load, const Share& share) noexcept {
  if (load.half_open >= share.half_open) return Admittance::too_many_half_open;
  if (!is_owner(newcomer) && 2 * (load.foreign_connections + 1) > share.foreign) return Admittance::too_many_foreign;
  return Admittance::yes;
}

void DescriptorReserve::fill() noexcept {
  while (kept_.size() < kReserve) {
    Fd one(::eventfd(0, EFD_CLOEXEC));
    if (!one) return;
    kept_.push_back(std::move(one));
  }
}

bool DescriptorReserve::lend() noexcept {
  if (kept_.empty()) return false;
  kept_.pop_back();
  return true;
}

}  // namespace ipcq::detail
