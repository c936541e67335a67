// Symbol visibility of the library. Everything not marked IPCQ_API stays inside libipcq.
#pragma once

#if defined(IPCQ_STATIC)
#define IPCQ_API
#else
#define IPCQ_API __attribute__((visibility("default")))
#endif

// What ipcq::cuda, an archive of the same release, needs of libipcq's inside. Not for users.
#define IPCQ_INTERNAL_API IPCQ_API
