// Symbol visibility of the library: everything not marked IPCQ_API stays inside libipcq. And, since the public headers
// begin here, the language and the std::string that they need.
#pragma once

// Not `< 202002L`: GCC 10 says 201709 for C++20.
#if __cplusplus <= 201703L
#error "libipcq needs C++20: compile with -std=c++20, and .cu files too (nvcc -std=c++20)"
#endif

#include <cstddef>

#include "ipcq/version.hpp"

// A mangled name differs where a std::string crosses the interface: said here, not as undefined references.
#if defined(_GLIBCXX_USE_CXX11_ABI) && _GLIBCXX_USE_CXX11_ABI != IPCQ_CXX11_STRINGS
#if IPCQ_CXX11_STRINGS
#error "this libipcq has the std::string of C++11: compile without -D_GLIBCXX_USE_CXX11_ABI=0, or build libipcq with it"
#else
#error "this libipcq has the std::string of C++98: compile with -D_GLIBCXX_USE_CXX11_ABI=0, or build libipcq without it"
#endif
#endif

#if defined(IPCQ_STATIC)
#define IPCQ_API
#else
#define IPCQ_API __attribute__((visibility("default")))
#endif

// A function that device code calls too.
#if defined(__CUDACC__)
#define IPCQ_HOST_DEVICE __host__ __device__
#else
#define IPCQ_HOST_DEVICE
#endif

// What ipcq::cuda, an archive of the same release, needs of libipcq's inside. Not for users.
#define IPCQ_INTERNAL_API IPCQ_API
