/* A handler of the C contract: adds one to each byte, and fails with a code on a message that begins with 'x'. */
#include <ipcq/handler.h>

IPCQ_C_HANDLER int32_t ipcq_handle(void* data, uint64_t length, const struct ipcq_context* context) {
  unsigned char* const bytes = (unsigned char*)data;
  const int32_t code = context->rank == 0 && length != 0 && bytes[0] == 'x' ? 7 : 0;
  for (uint64_t i = context->rank; i < length; i += context->size) bytes[i] += 1;
  return code;
}
