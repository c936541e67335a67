// What tests have to know of the sanitizer that they are compiled with.
#pragma once

namespace ipcq_test {

// UBSan's type checks read memory through a pipe: they fail in a process whose descriptors are all used up.
#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool kChecksNeedDescriptors = true;
#else
inline constexpr bool kChecksNeedDescriptors = false;
#endif

}  // namespace ipcq_test
