#include "image.hpp"

#include <dlfcn.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "ipcq/error.hpp"
#include "layout/handler_text.hpp"

namespace ipcq::runner {

using namespace detail;

HostImageFile::HostImageFile(Fd file, const std::string& object, const std::string& arguments, State state)
    : file_(std::move(file)) {
  load(object);
  try {
    make(object, arguments, state);
  } catch (...) {
    unload();
    throw;
  }
}

void HostImageFile::load(const std::string& object) {
  if (!file_) throw BackendError(object + ": its image did not come along with the request");
  path_ = "/proc/self/fd/" + std::to_string(file_.get());
  library_ = ::dlopen(path_.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library_ == nullptr) {
    const char* const why = ::dlerror();
    throw BackendError(object + ": its image cannot be loaded: " + (why != nullptr ? why : "no reason is given"));
  }
}

void HostImageFile::make(const std::string& object, const std::string& arguments, State state) {
  table_ = static_cast<const HostImage*>(::dlsym(library_, kHostImageSymbol));
  if (table_ == nullptr || table_->magic != kHostImageMagic || table_->abi != kAbiVersion) {
    throw BackendError(object + ": was compiled by an ipcq-compiler of another release than this ipcq-host-runner; " +
                       "install both of one release");
  }
  std::vector<HandlerArgument> all = parse_arguments(object, arguments);
  HandlerReport report{};
  handler_ = table_->make(all.data(), static_cast<std::uint32_t>(all.size()), state, &report);
  if (handler_ == nullptr) throw UsageError(object + ": " + text_of(report, all));
  try {
    check_state(report, state.bytes, object);
  } catch (...) {
    table_->destroy(handler_);
    throw;
  }
  is_serial_ = report.serial != 0;
}

// The linker tells libraries apart by the names that they were opened by, and keeps some for good (those with unique
// symbols). The number of such a one's descriptor must not be used again, so that stays open.
void HostImageFile::unload() noexcept {
  ::dlclose(library_);
  if (void* const still = ::dlopen(path_.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD); still != nullptr) {
    ::dlclose(still);
    file_.release();
  }
}

HostImageFile::~HostImageFile() {
  table_->destroy(handler_);
  unload();
}

}  // namespace ipcq::runner
