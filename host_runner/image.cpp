#include "image.hpp"

#include <dlfcn.h>

#include <utility>

#include "ipcq/error.hpp"

namespace ipcq::runner {

using namespace detail;

HostImageFile::HostImageFile(Fd file, const std::string& label) : file_(std::move(file)) {
  const std::string object = "handler '" + label + "'";
  if (!file_) throw BackendError(object + ": its image did not come along with the request");
  const std::string path = "/proc/self/fd/" + std::to_string(file_.get());
  library_ = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library_ == nullptr) {
    const char* const why = ::dlerror();
    throw BackendError(object + ": its image cannot be loaded: " + (why != nullptr ? why : "no reason is given"));
  }
  table_ = static_cast<const HostImage*>(::dlsym(library_, kHostImageSymbol));
  if (table_ == nullptr || table_->magic != kHostImageMagic || table_->abi != kAbiVersion) {
    ::dlclose(library_);
    throw BackendError(object + ": was compiled by an ipcq-compiler of another release than this ipcq-host-runner; " +
                       "install both of one release");
  }
}

HostImageFile::~HostImageFile() { ::dlclose(library_); }

}  // namespace ipcq::runner
