// After the user's file, for the host: checks the handler and exports the table of layout/host_image.hpp.
#pragma once

#include "host/run_handler.hpp"

namespace ipcq_compiler {
template <class IpcqH>
using TeamOf = ipcq::detail::TeamOn<IpcqH>;
}
#include "device/named_handler.hpp"

extern "C" {
extern const ipcq::detail::HostImage ipcq_host_image __attribute__((__visibility__("default")));
const ipcq::detail::HostImage ipcq_host_image = ipcq::detail::kHostImageOf<ipcq_compiler::Chosen, ipcq_compiler::Visit>;
}
