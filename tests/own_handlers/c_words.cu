/* A handler of the C contract that says by a message's first byte what becomes of it. */
#include <ipcq/handler.h>

IPCQ_C_HANDLER int32_t ipcq_handle(void* data, uint64_t length, const struct ipcq_context* context) {
  const unsigned char first = length == 0 ? 0 : *(const unsigned char*)data;
  uint64_t* const new_length = (uint64_t*)context->new_length;
  if (*new_length != length || context->capacity < length) return 254;
  if (first == 's') *new_length = 1;
  if (first == 'g') *new_length = length + 1;
  if (first == 'b') *new_length = context->capacity + 1;
  if (first == 'd') return IPCQ_DROP;
  if (first == 'r') return IPCQ_REFUSE;
  return first == 'f' ? 1000 : 0;
}
