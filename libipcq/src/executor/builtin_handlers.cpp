#include "ipcq/builtin_handlers.hpp"

namespace ipcq {
namespace {

template <class Handler>
bool run_on_host(std::byte* data, std::uint64_t length) {
  return handlers::run(Handler(), data, length, HostTeam());
}

struct Known {
  std::string_view name;
  HostHandler handler;
  bool (*accepts)(std::uint64_t length);
};
template <class Handler>
constexpr Known known(std::string_view name) {
  return {name, run_on_host<Handler>, [](std::uint64_t length) { return Handler::accepts(length); }};
}

constexpr Known kHandlers[] = {
    known<handlers::Identity>("identity"),
    known<handlers::Invert>("invert"),
    known<handlers::Upper>("upper"),
    known<handlers::VectorAdd>("vector_add"),
};

}  // namespace

HostHandler find_host_handler(std::string_view name) noexcept {
  for (const Known& k : kHandlers) {
    if (k.name == name) return k.handler;
  }
  return nullptr;
}

bool is_handler_file(std::string_view handler) noexcept { return handler.find_first_of("/.") != handler.npos; }

bool handler_accepts(std::string_view name, std::uint64_t length) noexcept {
  for (const Known& k : kHandlers) {
    if (k.name == name) return k.accepts(length);
  }
  return true;
}

std::vector<std::string> handler_names() {
  std::vector<std::string> names;
  for (const Known& k : kHandlers) names.emplace_back(k.name);
  return names;
}

}  // namespace ipcq
