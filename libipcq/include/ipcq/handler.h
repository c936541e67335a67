/* The C contract of handlers, for compilers that know nothing of C++: one function of this name and form, in a source
 * file (.cu, .cpp), or compiled by any compiler: for a GPU (.ptx, .ltoir), or for the host (.o, which may have the code
 * for a GPU in it, too).
 *
 *   #include <ipcq/handler.h>
 *   IPCQ_C_HANDLER int32_t ipcq_handle(void* data, uint64_t length, const struct ipcq_context* context) {
 *     unsigned char* const bytes = (unsigned char*)data;
 *     for (uint64_t i = context->rank; i < length; i += context->size) bytes[i] ^= 255;
 *     return 0;
 *   }
 *
 * It is called by each lane of a team that shares one message, as ipcq/handler.hpp says, for messages of any length; of
 * a record batch for each record. Each lane changes its own elements: it begins at `rank`, and goes on by `size`. It
 * returns 0: done; or a code, 1 to 255 (any other counts as 255): it failed on this message, which is passed on marked
 * (Message::failed(), Message::failure()), its bytes as they are then; or one of the two codes below. What the lane of
 * rank 0 returns counts. An exception is for the host alone. */
#ifndef IPCQ_HANDLER_H
#define IPCQ_HANDLER_H

#ifdef __CUDACC_RTC__ /* it brings no C headers */
#include <cstdint>
#else
#include <stdint.h>
#endif

#define IPCQ_REFUSE 256 /* not a message for this handler: it is passed on, processed() false, as if accepts() said so */
#define IPCQ_DROP 512   /* readers never see it */

/* Words alone, so that other languages can see it as an array of 16. Of what the executor does not know it is 0; state
 * also in what ipcq_add_handler() has built. */
struct ipcq_context {
  uint64_t rank; /* of the lane, from 0 */
  uint64_t size; /* of the team */
  uint64_t ticket;
  uint64_t sequence;
  uint64_t producer;
  uint64_t published_at_ns; /* CLOCK_MONOTONIC; 0 for a message carried in its line */
  uint64_t record;          /* place of the record in its batch, from 0 */
  uint64_t state; /* address of the queue's state memory; with one, messages come one at a time, in their order */
  uint64_t state_bytes;
  uint64_t capacity;   /* up to which the length may go; of a record its length, which stays */
  uint64_t new_length; /* address of a word with the length: readers get as many bytes as rank 0 leaves there. One
                          beyond the capacity fails the message, with code 1 */
  uint64_t reserved[5];
};

#if defined(__CUDACC__)
#define IPCQ_C_HANDLER extern "C" __host__ __device__
#elif defined(__cplusplus)
#define IPCQ_C_HANDLER extern "C"
#else
#define IPCQ_C_HANDLER
#endif

#endif
