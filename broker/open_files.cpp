#include "open_files.hpp"

#include <sys/resource.h>

#include "program/logging.hpp"

namespace ipcq::program {

void raise_open_files_limit() noexcept {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= limit.rlim_max) return;
  const auto before = limit.rlim_cur;
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return;  // the broker then serves fewer clients, and says so
  log::debug("limit of open files: {}, was {}", limit.rlim_cur, before);
}

}  // namespace ipcq::program
