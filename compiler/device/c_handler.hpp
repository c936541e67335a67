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
  ipcq_c.capacity = ipcq_message.record_of_batch ? ipcq_message.length : ipcq_message.capacity;
  return ipcq_c;
}

struct CHandler {
#if defined(IPCQ_QUEUE_HAS_STATE)
  template <class IpcqTeam>
  IPCQ_HOST_DEVICE void operator()(ipcq::HandlerMessage& ipcq_message, IpcqTeam ipcq_team,
                                   ipcq::State ipcq_state) const {
    auto ipcq_c = ipcq_compiler::context_of(ipcq_message, ipcq_team);
    ipcq_c.state = reinterpret_cast<unsigned long>(ipcq_state.data);
    ipcq_c.state_bytes = ipcq_state.bytes;
    ipcq_call(ipcq_message, ipcq_c);
  }
#else
  template <class IpcqTeam>
  IPCQ_HOST_DEVICE void operator()(ipcq::HandlerMessage& ipcq_message, IpcqTeam ipcq_team) const {
    auto ipcq_c = ipcq_compiler::context_of(ipcq_message, ipcq_team);
    ipcq_call(ipcq_message, ipcq_c);
  }
#endif
  // A template, since a file with a handler of the C++ contract has no such function.
  template <class IpcqC>
  IPCQ_HOST_DEVICE static void ipcq_call(ipcq::HandlerMessage& ipcq_message, IpcqC& ipcq_c) {
    unsigned long ipcq_length = ipcq_message.length;
    ipcq_c.new_length = reinterpret_cast<unsigned long>(&ipcq_length);
    const IpcqC& ipcq_told = ipcq_c;
    const int ipcq_code = static_cast<int>(ipcq_handle(ipcq_message.data, ipcq_message.length, &ipcq_told));
    if (ipcq_code == IPCQ_REFUSE) {
      ipcq_message.outcome = ipcq::detail::kRefusedOutcome;
    } else if (ipcq_code == IPCQ_DROP) {
      ipcq_message.drop();
    } else if (!ipcq_message.resize(ipcq_length)) {
      ipcq_message.fail(1);
    } else if (ipcq_code != 0) {
      ipcq_message.fail(ipcq_code > 0 && ipcq_code < 256 ? static_cast<unsigned char>(ipcq_code) : 255);
    }
  }
};

}  // namespace ipcq_compiler
