// After the user's file: the function of the C contract (ipcq/handler.h), if the file has one, as a handler of the C++
// contract.
#pragma once

#include "ipcq/handler.h"
#include "ipcq/handler.hpp"

namespace ipcq_compiler {

template <class IpcqC>
concept HasCFunction = requires(std::byte* ipcq_data, unsigned long ipcq_length, const IpcqC* ipcq_c) {
  static_cast<int>(ipcq_handle(ipcq_data, ipcq_length, ipcq_c));
};
inline constexpr bool has_c_function = HasCFunction<ipcq_context>;

// What the function is told.
template <class IpcqTeam>
IPCQ_HOST_DEVICE ipcq_context context_of(const ipcq::HandlerMessage& ipcq_message, const IpcqTeam& ipcq_team) {
  ipcq_context ipcq_c{};
  ipcq_c.rank = ipcq_team.rank();
  ipcq_c.size = ipcq_team.size();
  ipcq_c.ticket = ipcq_message.ticket;
  ipcq_c.sequence = ipcq_message.sequence;
  ipcq_c.producer = ipcq_message.producer;
  ipcq_c.published_at_ns = ipcq_message.published_at_ns;
  ipcq_c.record = ipcq_message.record;
  return ipcq_c;
}

struct CHandler {
  template <class IpcqTeam>
  IPCQ_HOST_DEVICE void operator()(ipcq::HandlerMessage& ipcq_message, IpcqTeam ipcq_team) const {
    const auto ipcq_c = ipcq_compiler::context_of(ipcq_message, ipcq_team);
    const int ipcq_code = static_cast<int>(ipcq_handle(ipcq_message.data, ipcq_message.length, &ipcq_c));
    if (ipcq_code != 0)
      ipcq_message.fail(ipcq_code > 0 && ipcq_code < 256 ? static_cast<unsigned char>(ipcq_code) : 255);
  }
};

}  // namespace ipcq_compiler
