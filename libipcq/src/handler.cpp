#include "ipcq/handler.hpp"

#include <utility>

namespace ipcq {
namespace {

template <class Handler>
bool run_on_host(std::byte* data, std::uint64_t length) {
  if (!Handler::accepts(length)) return false;
  Handler()(data, length, HostTeam());
  return true;
}

constexpr std::pair<std::string_view, HostHandler> kHandlers[] = {
    {"identity", run_on_host<handlers::Identity>},
    {"invert", run_on_host<handlers::Invert>},
    {"upper", run_on_host<handlers::Upper>},
    {"vector_add", run_on_host<handlers::VectorAdd>},
};

}  // namespace

HostHandler find_host_handler(std::string_view name) noexcept {
  for (const auto& [known, handler] : kHandlers) {
    if (known == name) return handler;
  }
  return nullptr;
}

std::vector<std::string> handler_names() {
  std::vector<std::string> names;
  for (const auto& [name, handler] : kHandlers) names.emplace_back(name);
  return names;
}

}  // namespace ipcq
