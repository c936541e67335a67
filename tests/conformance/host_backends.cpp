#include "conformance/backend.hpp"

namespace ipcq_test {

std::vector<Backend> backends() {
  return {
    {"HostDirect", "host", ""},
#if !defined(__SANITIZE_THREAD__)
        // ThreadSanitizer knows memory by its address. An embedded broker's executor has a mapping of its own, so the
        // order that its lines give to producer and consumer cannot be seen.
        {"HostIdentity", "host", "identity"},
#endif
  };
}

std::string start_device() { return {}; }

}  // namespace ipcq_test
