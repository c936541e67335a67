// Symbol visibility of the library: only what is marked IPCQ_API is exported. Every public header includes this one, so
// it also checks the language version and the std::string that they need.
#pragma once

// Not `< 202002L`: GCC 10 says 201709 for C++20.
#if __cplusplus <= 201703L
#error "libipcq needs C++20: compile with -std=c++20, and .cu files too (nvcc -std=c++20)"
#endif

#include <cstddef>

#include "ipcq/version.hpp"

// The other std::string changes mangled names, which would show only as undefined references.
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

// A function that device code can call too.
#if defined(__CUDACC__)
#define IPCQ_HOST_DEVICE __host__ __device__
#else
#define IPCQ_HOST_DEVICE
#endif

// Internals that ipcq::cuda, an archive of the same release, uses. Not for users.
#define IPCQ_INTERNAL_API IPCQ_API
