// Functions of the CUDA driver that the library does not look up, since it needs none of them.
#pragma once

#include <cuda.h>
#include <dlfcn.h>

#include "driver.hpp"

namespace ipcq_test {

// Of the driver that the library uses too. Throws as check_cuda() does. `Function`: the function's type.
template <class Function>
Function* driver_function(const char* name) {
  using GetProcAddress = CUresult (*)(const char*, void**, int, cuuint64_t, CUdriverProcAddressQueryResult*);
  static void* const library = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  const auto get = reinterpret_cast<GetProcAddress>(::dlsym(library, "cuGetProcAddress_v2"));
  constexpr int kInterface = 11000;  // of CUDA 11.0: functions of later ones have more parameters
  void* found = nullptr;
  ipcq::detail::check_cuda(get(name, &found, kInterface, CU_GET_PROC_ADDRESS_DEFAULT, nullptr), "cuGetProcAddress",
                           name);
  return reinterpret_cast<Function*>(found);
}

}  // namespace ipcq_test
