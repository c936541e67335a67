// Behind the table of a handler that ipcq_add_handler() builds ahead: the stamp that says what the file is, and the
// kernels' fat binary. The function's text defines the macros (cmake/IpcqAddHandler.cmake).
#pragma once

#include "host/run_handler.hpp"
#include "ipcq/version.hpp"
#include "layout/abi.hpp"
#include "layout/handler_stamp.hpp"

namespace {
[[gnu::used, gnu::section(".ipcq_handler")]] const ipcq::detail::HandlerStamp ipcq_handler_stamp = {
    ipcq::detail::kHandlerStampMagic,
    ipcq::kAbiVersion,
    0,  // reserved
    IPCQ_VERSION,
    IPCQ_HANDLER_HOST_CODE,
    IPCQ_HANDLER_DEVICE_CODE,
    IPCQ_COMPILED_BY,
    IPCQ_HANDLER_DEVICE_COMPILER,
    IPCQ_HANDLER_ARCHITECTURES,
};
}  // namespace

#if defined(IPCQ_HANDLER_FATBIN)
asm(".pushsection .ipcq_fatbin,\"a\",@progbits\n.balign 64\n.incbin \"" IPCQ_HANDLER_FATBIN "\"\n.popsection\n");
#endif
