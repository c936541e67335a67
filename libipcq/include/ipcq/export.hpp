// Symbol visibility of the library: everything not marked IPCQ_API stays inside libipcq. And, since the public headers
// begin here, the language that they need.
#pragma once

// Not `< 202002L`: GCC 10 says 201709 for C++20.
#if __cplusplus <= 201703L
#error "libipcq needs C++20: compile with -std=c++20, and .cu files too (nvcc -std=c++20)"
#endif

#if defined(IPCQ_STATIC)
#define IPCQ_API
#else
#define IPCQ_API __attribute__((visibility("default")))
#endif

// What ipcq::cuda, an archive of the same release, needs of libipcq's inside. Not for users.
#define IPCQ_INTERNAL_API IPCQ_API
